import { defineConfig } from "vitest/config";

const minutes = (count: number) => count * 60_000;

/** Everything that starts Python or builds runs one file after another, in one worker. */
const oneWorker = { fileParallelism: false, maxWorkers: 1, pool: "forks" } as const;

const project = (name: string, setUp: readonly ("build" | "python")[]) => ({
  test: {
    ...oneWorker,
    name,
    include: [`test/${name}/**/*.test.ts`],
    globalSetup: setUp.map((part) => `test/support/set-up-${part}.ts`),
    testTimeout: minutes(5),
    hookTimeout: minutes(10),
  },
});

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: ["test/unit/**/*.test.ts", "test/types/**/*.test.ts"],
          setupFiles: ["test/support/no-console.ts"],
          testTimeout: 20_000,
        },
      },
      project("contract", ["python"]),
      project("e2e", ["build", "python"]),
      project("examples", ["build", "python"]),
      project("package", ["build"]),
    ],
    passWithNoTests: true,
  },
});
