import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium, type Browser, type Page } from "playwright-core";

const usualPlaces = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/** A Chromium to test pages with: `MILORA_CHROMIUM`, or where Debian and others put it. */
export const chromiumFile = (): string | undefined => {
  const named = process.env["MILORA_CHROMIUM"];
  return named === undefined || named === "" ? usualPlaces.find((file) => existsSync(file)) : named;
};

export const noChromium = "no Chromium: install Debian's package chromium, or name one by MILORA_CHROMIUM";

/** The sandbox needs rights that a container's root does not have; the pages are our own. */
export const openBrowser = (executablePath: string): Promise<Browser> =>
  chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] });

/** All that a page complains of, or loads from elsewhere than files and its own origin, as it happens. */
export const watchPage = (page: Page, origin = "file:"): readonly string[] => {
  const complaints: string[] = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(`${message.type()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => complaints.push(`exception: ${error.message}`));
  page.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(origin) && !/^(data|blob):/.test(url)) complaints.push(`request: ${url}`);
  });
  return complaints;
};

const axeSource = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

/** What axe finds on a page that is serious or critical, with the elements. */
export const seriousFaults = async (page: Page): Promise<unknown> => {
  await page.addScriptTag({ path: axeSource });
  return page.evaluate(`axe.run().then(({ violations }) => violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, nodes }) => id + ": " + nodes.map(({ html }) => html.slice(0, 120)).join(" | ")))`);
};

/** Seconds of processor time that the page's main thread has taken, however busy the machine is. */
export const threadSeconds = async (page: Page): Promise<number> => {
  const session = await page.context().newCDPSession(page);
  await session.send("Performance.enable");
  const { metrics } = await session.send("Performance.getMetrics");
  return metrics.find(({ name }) => name === "ThreadTime")?.value ?? Number.NaN;
};
