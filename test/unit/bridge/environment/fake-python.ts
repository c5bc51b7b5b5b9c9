import { chmodSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { lockFile, parseLock } from "../../../../ts/bridge/environment/requirements.js";
import { temporaryFolder } from "../../../support/temporary-folder.js";

/** What the fake's probe reports: package → version; a missing package is left out. */
export type Packages = Readonly<Record<string, string>>;

/** Every package at its locked version. */
export const lockedPackages = (): Packages =>
  Object.fromEntries(
    [lockFile("packages"), lockFile("demo"), lockFile("dev")]
      .flatMap((file) => parseLock(readFileSync(file, "utf8")))
      .map(({ name, specifier }) => [name, specifier.replace("==", "")]),
  );

/** A shell script that answers the three questions milora asks an interpreter, and writes down that it was asked. */
const script = (shared: string): string => `#!/bin/sh
shared='${shared}'
case "$2" in
  *ensurepip*) echo "version $0" >> "$shared/calls"; cat "$shared/version" ;;
  *runpy*)
    echo "$3" >> "$shared/calls"
    if [ "$3" = venv ]; then
      mkdir -p "$4/bin" "$4/lib/python3.11/site-packages" && cp "$0" "$4/bin/python"
    else
      for last in "$@"; do :; done
      echo "install $last" >> "$shared/calls"
      echo "Downloading torch-2.13.0-cp311-cp311-linux_x86_64.whl (180.2 MB)"
      if [ -e "$shared/kill-pip" ]; then rm "$shared/kill-pip"; kill -9 $$; fi
      if [ -e "$shared/fail-pip" ]; then echo "ERROR: No space left on device" >&2; exit 1; fi
      if [ -e "$shared/slow-pip" ]; then cat > /dev/null; kill -9 $$; fi
      touch "$(dirname "$0")/../installed"
    fi ;;
  *importlib.metadata*)
    echo probe >> "$shared/calls"
    if [ -e "$shared/break-probe" ]; then rm "$shared/break-probe"; echo "Illegal instruction" >&2; exit 132; fi
    cat "$shared/report" ;;
  *) exit 9 ;;
esac
`;

const report = (version: string, purelib: string, packages: Packages): string =>
  JSON.stringify({
    version,
    purelib,
    packages: Object.fromEntries(
      Object.entries(packages).map(([name, each]) => [name, { version: each, error: null }]),
    ),
    device: null,
  });

const writeExecutable = (file: string, text: string): void => {
  writeFileSync(file, text);
  chmodSync(file, 0o755);
};

interface FakeOptions {
  /** Python's version; 3.11.7 by default. */
  readonly version?: string;
  readonly packages?: Packages;
  /** Whether it has venv and ensurepip. */
  readonly complete?: boolean;
}

/** What the fake's script itself calls. */
const tools = ["cat", "cp", "dirname", "mkdir", "rm", "touch"] as const;

/** A machine whose only Python is a fake `python3`; `variables` is its environment. */
export const fakeMachine = async ({
  version = "3.11.7",
  packages = lockedPackages(),
  complete = true,
}: FakeOptions = {}) => {
  const folder = await temporaryFolder();
  const bin = join(folder, "bin");
  const purelib = join(folder, "site-packages");
  for (const each of [bin, purelib]) mkdirSync(each);
  for (const tool of tools)
    symlinkSync(existsSync(`/bin/${tool}`) ? `/bin/${tool}` : `/usr/bin/${tool}`, join(bin, tool));
  const text = script(folder);
  writeExecutable(join(bin, "python3"), text);
  writeFileSync(join(folder, "version"), `${version}\n${complete ? "True" : "False"}\n`);
  writeFileSync(join(folder, "report"), report(version, purelib, packages));
  const calls = join(folder, "calls");
  return {
    folder,
    python: join(bin, "python3"),
    home: join(folder, "home"),
    variables: { PATH: bin, HOME: folder, MILORA_HOME: join(folder, "home") },
    /** What interpreters were asked since the last look. */
    takeCalls: (): readonly string[] => {
      const said = existsSync(calls) ? readFileSync(calls, "utf8").trim().split("\n") : [];
      writeFileSync(calls, "");
      return said.filter((line) => line !== "");
    },
    /** `kill-pip`, `fail-pip`, `slow-pip`, `break-probe`: what goes wrong from now on. */
    plant: (fault: string): void => writeFileSync(join(folder, fault), ""),
    /** An environment at `name` with an interpreter of its own. */
    addEnvironment: (name: string, its: Packages, itsVersion = version): string => {
      const place = join(folder, name);
      mkdirSync(join(place, "bin"), { recursive: true });
      writeFileSync(join(place, "report"), report(itsVersion, place, its));
      writeExecutable(join(place, "bin", "python"), script(place));
      return place;
    },
  };
};
