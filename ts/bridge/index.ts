/** The bridge: the only folder that knows pythonia. */
export type { LogLine, SessionOptions } from "./options.js";
export { openBackend, PythonBackend } from "./python-backend.js";
export type { PythonProxy } from "./pythonia.js";
export { openSession, type Session } from "./session.js";
