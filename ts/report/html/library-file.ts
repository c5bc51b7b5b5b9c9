import { existsSync, readFileSync } from "node:fs";

/** The charting packages, in the order in which they need each other. */
export type ChartingLibrary = "vega" | "vega-lite" | "vega-embed";

/** A file of a charting package: in the built package beside this file, in a checkout where npm put it. */
export const libraryFile = (library: ChartingLibrary, name: string): string => {
  const built = new URL(`./assets/${library}/${name}`, import.meta.url);
  const installed = new URL(`../../../node_modules/${library}/${name}`, import.meta.url);
  return readFileSync(existsSync(built) ? built : installed, "utf8");
};

/** A package's code, minified. */
export const libraryCode = (library: ChartingLibrary): string => libraryFile(library, `build/${library}.min.js`);
