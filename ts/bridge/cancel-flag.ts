import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const lowered = Buffer.from([0]);
const raised = Buffer.from([1]);

/** One byte in a file that Python maps into its memory: 1 asks the running call to end. Only this side writes it. */
export class CancelFlag {
  readonly path: string;
  readonly #folder: string;
  readonly #descriptor: number;
  #raised = false;
  #closed = false;

  constructor() {
    this.#folder = mkdtempSync(join(tmpdir(), "milora-bridge-"));
    this.path = join(this.#folder, "cancel");
    this.#descriptor = openSync(this.path, "wx+", 0o600);
    this.#write(lowered);
  }

  raise(): void {
    this.#raised = true;
    this.#write(raised);
  }

  lower(): void {
    // Asked after every call: a training makes thousands of them, and hardly any is cancelled.
    if (!this.#raised) return;
    this.#raised = false;
    this.#write(lowered);
  }

  /** Takes the name away once Python has mapped the file, so that nothing stays behind however either side ends. */
  unlink(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    closeSync(this.#descriptor);
    this.unlink();
  }

  #write(byte: Buffer): void {
    if (!this.#closed) writeSync(this.#descriptor, byte, 0, 1, 0);
  }
}
