import { existsSync, mkdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { extname, join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { packageRoot } from "../../ts/bridge/environment/index.js";
import { chromiumFile, noChromium, openBrowser, seriousFaults, watchPage } from "../support/browser.js";

const site = join(packageRoot, "docs", ".dist");
const executable = chromiumFile();
const isBuilt = existsSync(join(site, "index.html"));
const missing = executable === undefined ? noChromium : isBuilt ? "" : "no site: npm run docs builds it";

/** Kept for people to look at; git ignores it. */
const artefacts = join(packageRoot, ".test-runs", "docs-site");

/** One of each kind of page. */
const pages = [
  "index",
  "guide",
  "python",
  "errors",
  "methods/lora",
  "reference/cli",
  "reference/spec",
  "reference/python",
  "reference/typescript/index",
  "reference/typescript/interfaces/Milora",
  "examples/fine-tune.ts",
  "examples/notebooks/first-steps.ipynb",
  "results/baselines",
] as const;

const types: Readonly<Record<string, string>> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
};

/** Pages name the site's files from its root, so they need a server. */
const serveSite = async (): Promise<{ readonly server: Server; readonly origin: string }> => {
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? "/", "http://localhost");
    readFile(join(site, pathname)).then(
      (bytes) => response.writeHead(200, { "content-type": types[extname(pathname)] ?? "text/plain" }).end(bytes),
      () => response.writeHead(404).end(),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the server has no port");
  return { server, origin: `http://127.0.0.1:${address.port}` };
};

describe.skipIf(missing !== "")(`the documentation's site in Chromium${missing === "" ? "" : ` (${missing})`}`, () => {
  let browser: Browser;
  let served: Awaited<ReturnType<typeof serveSite>>;
  beforeAll(async () => {
    mkdirSync(artefacts, { recursive: true });
    served = await serveSite();
    browser = await openBrowser(executable ?? "");
  });
  afterAll(async () => {
    await browser.close();
    served.server.close();
  });

  const open = async (options: { readonly colorScheme: "light" | "dark"; readonly width: number }) => {
    const { colorScheme, width } = options;
    const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme });
    return { page, complaints: watchPage(page, served.origin) };
  };

  const visit = async (page: Page, name: string): Promise<void> => {
    const response = await page.goto(`${served.origin}/${name}.html`);
    expect(response?.status(), name).toBe(200);
    await page.locator("h1").first().waitFor();
  };

  it.each([
    { colorScheme: "light", width: 1280 },
    { colorScheme: "dark", width: 1280 },
    { colorScheme: "light", width: 380 },
  ] as const)(
    "$colorScheme, $width wide: nothing complained of, no serious fault of accessibility, no page wider than the screen",
    async ({ colorScheme, width }) => {
      const { page, complaints } = await open({ colorScheme, width });
      for (const name of pages) {
        await visit(page, name);
        expect(await seriousFaults(page), name).toEqual([]);
        expect(await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), name).toBe(true);
        await page.screenshot({ path: join(artefacts, `${name.replaceAll("/", "-")}-${colorScheme}-${width}.png`) });
      }
      expect(complaints).toEqual([]);
      await page.close();
    },
  );

  it("the search finds a word of a page, of the reference and of a script, and leads there", async () => {
    const { page, complaints } = await open({ colorScheme: "light", width: 1280 });
    await visit(page, "index");
    await page.getByRole("button", { name: "Search" }).first().click();
    const results = page.locator("#localsearch-list a");
    const found = () => results.evaluateAll((links) => links.map((link) => link.getAttribute("href")));
    for (const [word, place] of [
      ["devPerplexity", "/reference/typescript/"],
      ["compareResults", "/examples/"],
      ["environment/no-python", "/errors.html"],
    ] as const) {
      await page.locator("#localsearch-input").fill(word);
      await expect.poll(found, { timeout: 30_000 }).toContainEqual(expect.stringContaining(place));
    }
    await results.and(page.locator('[href*="/errors.html"]')).first().click();
    await page.waitForURL(/\/errors\.html/u);
    expect(complaints).toEqual([]);
    await page.close();
  });
});
