import { mkdirSync, statSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { packageRoot } from "../../ts/bridge/environment/index.js";
import { buildReport } from "../../ts/report/build-report.js";
import { reportHtml } from "../../ts/report/html/report-html.js";
import { readReportInputs } from "../../ts/report/sources/read-inputs.js";
import { chromiumFile, noChromium, openBrowser, seriousFaults, threadSeconds, watchPage } from "../support/browser.js";
import {
  decodeBench,
  judged,
  manyRuns,
  type MadeUpRun,
  someRuns,
  taskRouting,
  tenantsBench,
  writeRouting,
  writeSweep,
} from "../support/report-folders.js";
import { workFolder } from "../support/work-folder.js";

const executable = chromiumFile();

/** Kept for people to look at; git ignores it. */
const artefacts = join(packageRoot, ".test-runs", "report");

/** A report of made-up runs and all other kinds of input. */
const writeReport = async (name: string, runs: readonly MadeUpRun[]): Promise<string> => {
  const folder = workFolder();
  const [first = ""] = writeSweep(join(folder, "sweep"), runs);
  writeRouting(first, "piqa", ["Which of the two is it?", "And why?"]);
  const inputs = {
    "mt-bench.json": judged,
    "decode.json": decodeBench,
    "tenants.json": tenantsBench,
    "routing.json": taskRouting,
  };
  for (const [file, value] of Object.entries(inputs)) writeFileSync(join(folder, file), JSON.stringify(value));
  writeFileSync(join(folder, "broken.json"), '{"results":[');
  const places = ["sweep", ...Object.keys(inputs), "broken.json"].map((place) => join(folder, place));
  mkdirSync(artefacts, { recursive: true });
  const file = join(artefacts, name);
  writeFileSync(file, reportHtml(buildReport(await readReportInputs(places), "Made-up report")));
  return file;
};

const drawnFigures = async (page: Page): Promise<readonly string[]> => {
  const figures = page.locator("figure");
  const count = await figures.count();
  for (let index = 0; index < count; index += 1) {
    await figures.nth(index).scrollIntoViewIfNeeded();
    await figures.nth(index).locator(".plot[data-state]").waitFor();
  }
  return page.locator(".plot").evaluateAll((plots) => plots.map((plot) => plot.getAttribute("data-state") ?? ""));
};

describe.skipIf(executable === undefined)(
  `the HTML report in Chromium${executable === undefined ? ` (${noChromium})` : ""}`,
  () => {
    let browser: Browser;
    let file = "";
    beforeAll(async () => {
      browser = await openBrowser(executable ?? "");
    });
    afterAll(() => browser.close());

    const open = async (options: { readonly colorScheme: "light" | "dark"; readonly width?: number }) => {
      const { colorScheme, width = 1280 } = options;
      file = file === "" ? await writeReport("report.html", someRuns) : file;
      const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme, acceptDownloads: true });
      const complaints = watchPage(page);
      await page.goto(pathToFileURL(file).href);
      return { page, complaints };
    };

    it.each(["light", "dark"] as const)(
      "%s: every figure is drawn, nothing complained of, no serious fault of accessibility",
      async (colorScheme) => {
        const { page, complaints } = await open({ colorScheme });
        const states = await drawnFigures(page);
        expect(states).toHaveLength(10);
        expect(new Set(states)).toEqual(new Set(["drawn"]));
        await page.screenshot({ path: join(artefacts, `${colorScheme}.png`), fullPage: true });
        expect(await seriousFaults(page)).toEqual([]);
        expect(complaints).toEqual([]);
        await page.close();
      },
    );

    it("tables sort by mouse and keyboard, and filter", async () => {
      const { page } = await open({ colorScheme: "light" });
      const table = page.locator("section.table").first();
      const column = (place: number) => table.locator(`tbody tr:visible td:nth-child(${place})`).allTextContents();
      const medians = async () => (await column(6)).map((text) => Number.parseFloat(text));
      const header = table.getByRole("button", { name: "median" });
      await header.click();
      expect(await table.locator("th[aria-sort=descending]").count()).toBe(1);
      expect(await medians()).toEqual((await medians()).toSorted((left, right) => right - left));
      await header.press("Enter");
      expect(await medians()).toEqual((await medians()).toSorted((left, right) => left - right));
      await table.getByRole("searchbox").fill("milora");
      expect(await column(1)).toHaveLength(3);
      expect(await table.locator("output").textContent()).toBe("3 of 7 rows");
      await page.close();
    });

    it("a tooltip shows a point's values; a figure's data and a table's come as CSV", async () => {
      const { page } = await open({ colorScheme: "light" });
      const figure = page.locator("figure").first();
      await figure.scrollIntoViewIfNeeded();
      await figure.locator(".plot[data-state=drawn]").waitFor();
      await figure.locator(".mark-symbol.role-mark path").first().hover();
      const tooltip = page.locator("#vg-tooltip-element.visible");
      await tooltip.waitFor();
      expect(await tooltip.textContent()).toMatch(/lora, rank=4.*2,400.*54\.0%/s);
      const saved = async (place: typeof figure) => {
        const [download] = await Promise.all([page.waitForEvent("download"), place.locator("button.csv").click()]);
        return (await readFile(await download.path(), "utf8")).split("\n");
      };
      const data = await saved(figure);
      expect(data.slice(0, 2)).toEqual([
        "method,median,lowest,highest,activated",
        '"lora, rank=4",0.54,0.54,0.54,2400',
      ]);
      expect((await saved(page.locator("section.table").first()))[0]).toContain("method,trainable,activated_min");
      await page.close();
    });

    it("on a phone the page itself does not scroll sideways", async () => {
      const { page, complaints } = await open({ colorScheme: "light", width: 390 });
      expect(new Set(await drawnFigures(page))).toEqual(new Set(["drawn"]));
      expect(await page.evaluate("document.documentElement.scrollWidth <= innerWidth")).toBe(true);
      await page.screenshot({ path: join(artefacts, "phone.png"), fullPage: true });
      expect(complaints).toEqual([]);
      await page.close();
    });

    it("a hundred runs: under 2 MB, opened within a second of processor time", async () => {
      const many = await writeReport("hundred-runs.html", manyRuns);
      expect(statSync(many).size).toBeLessThan(2e6);
      const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
      const complaints = watchPage(page);
      await page.goto(pathToFileURL(many).href);
      expect(await threadSeconds(page)).toBeLessThan(1);
      expect(new Set(await drawnFigures(page))).toEqual(new Set(["drawn"]));
      expect(complaints).toEqual([]);
      await page.close();
    });
  },
);
