/** Tells once a stall that nothing came to an end for some minutes. */
export interface StallWatch {
  /** Something came to an end; `during` says what goes on next. */
  readonly beat: (during: string) => void;
  readonly close: () => void;
}

/** Watches by a timer that keeps no process alive. */
export const watchStalls = (minutes: number, tell: (during: string) => void): StallWatch => {
  const limit = minutes * 60_000;
  let at = performance.now();
  let during = "steps";
  let told = false;
  const timer = setInterval(
    () => {
      if (told || performance.now() - at < limit) return;
      told = true;
      try {
        tell(during);
      } catch {
        // Thrown out of a timer it would end the process; a record that can't be written fails the next event too.
      }
    },
    Math.min(limit / 4, 30_000),
  );
  timer.unref();
  return {
    beat: (next) => {
      at = performance.now();
      during = next;
      told = false;
    },
    close: () => clearInterval(timer),
  };
};
