/** Starts a timer of the processor's time of this process, in milliseconds: other processes do not count. */
export const cpuTimer = (): (() => number) => {
  const start = process.cpuUsage();
  return () => {
    const { user, system } = process.cpuUsage(start);
    return (user + system) / 1000;
  };
};

/** The milliseconds of the fastest of `rounds` runs: another process may take the processor in one of them. */
export const fastest = async (rounds: number, run: () => Promise<void>): Promise<number> => {
  const times: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    const startedAt = performance.now();
    await run();
    times.push(performance.now() - startedAt);
  }
  return Math.min(...times);
};
