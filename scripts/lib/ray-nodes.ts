import { execa } from "execa";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** A Ray of some nodes, all on this machine's loopback. */
export interface RayNodes {
  /** The head's host and port. */
  readonly address: string;
  /** Variables that a program needs to join it. */
  readonly env: Readonly<Record<string, string>>;
  /** The command lines of what runs on a node; the head is the first. */
  readonly commandsOn: (node: number) => Promise<readonly (readonly string[])[]>;
  /** Ends a node as a machine ends: its raylet gets signal 9, and nobody is told. */
  readonly kill: (node: number) => Promise<void>;
  readonly stop: () => Promise<void>;
}

/** No token of this machine's user is asked for, no metrics are gathered, and no run ends where memory is scarce. */
const env = {
  RAY_AUTH_MODE: "disabled",
  RAY_enable_metrics_collection: "0",
  RAY_prestart_worker_first_driver: "0",
  RAY_worker_niceness: "0",
  RAY_memory_monitor_refresh_ms: "0",
};

const small = [
  "--num-cpus=1",
  "--node-ip-address=127.0.0.1",
  "--object-store-memory=100000000",
  "--disable-usage-stats",
];

/** Ray gives a node 30 seconds, which a busy machine may need more than once. */
const triesToStart = 3;

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer();
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    });
  });

const startNode = (python: string, options: readonly string[]) =>
  execa(python, ["-m", "ray.scripts.scripts", "start", "--block", ...small, ...options], {
    reject: false,
    detached: true,
    all: true,
    env,
  });

type Node = ReturnType<typeof startNode>;

const isUp = async (node: Node): Promise<boolean> => {
  let said = "";
  const up = new Promise<boolean>((resolve) => {
    // Read to its end: a full pipe would hold Ray.
    node.all.on("data", (chunk: Buffer) => {
      said += chunk.toString();
      if (said.includes("Ray runtime started")) resolve(true);
    });
  });
  return Promise.race([up, node.then(() => false)]);
};

/** All at once: asked to end, Ray takes half a minute. Its workers end with it. */
const end = async (node: Node): Promise<void> => {
  try {
    if (node.pid !== undefined) process.kill(-node.pid, "SIGKILL");
  } catch {
    // It has ended by itself.
  }
  await node;
};

interface Seen {
  readonly raylet: number;
  readonly commands: readonly (readonly string[])[];
}

/** Starts a Ray of so many nodes of one CPU each. */
export const startRayNodes = async (python: string, count: number): Promise<RayNodes> => {
  // Short: Ray's sockets are in it.
  const folder = mkdtempSync(join(tmpdir(), "ray-"));
  const nodes: Node[] = [];
  const start = async (options: () => Promise<readonly string[]>): Promise<void> => {
    for (let left = triesToStart; left > 0; left -= 1) {
      const node = startNode(python, await options());
      if (await isUp(node)) {
        nodes.push(node);
        return;
      }
    }
    throw new Error(`A node of Ray did not come up on this machine in ${triesToStart} tries.`);
  };
  const see = async (index: number): Promise<Seen> => {
    const script = fileURLToPath(new URL("ray_node.py", import.meta.url));
    const { stdout } = await execa(python, [script, String(nodes[index]?.pid)]);
    return JSON.parse(stdout);
  };
  const stop = async (): Promise<void> => {
    await Promise.all(nodes.map(end));
    rmSync(folder, { recursive: true, force: true });
  };
  let address = "";
  try {
    await start(async () => {
      const port = await freePort();
      address = `127.0.0.1:${port}`;
      return ["--head", `--port=${port}`, `--temp-dir=${folder}`, "--include-dashboard=false"];
    });
    for (let index = 1; index < count; index += 1) await start(() => Promise.resolve([`--address=${address}`]));
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    address,
    env,
    commandsOn: async (index) => (await see(index)).commands,
    kill: async (index) => {
      process.kill((await see(index)).raylet, "SIGKILL");
    },
    stop,
  };
};
