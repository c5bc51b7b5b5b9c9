import { existsSync } from "node:fs";
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

/** All that a page complains of, or loads from elsewhere, as it happens. */
export const watchPage = (page: Page): readonly string[] => {
  const complaints: string[] = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(`${message.type()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => complaints.push(`exception: ${error.message}`));
  page.on("request", (request) => {
    if (!/^(file|data|blob):/.test(request.url())) complaints.push(`request: ${request.url()}`);
  });
  return complaints;
};

/** Seconds of processor time that the page's main thread has taken, however busy the machine is. */
export const threadSeconds = async (page: Page): Promise<number> => {
  const session = await page.context().newCDPSession(page);
  await session.send("Performance.enable");
  const { metrics } = await session.send("Performance.getMetrics");
  return metrics.find(({ name }) => name === "ThreadTime")?.value ?? Number.NaN;
};
