import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { describe, expect, it } from "vitest";
import { jsonOf, runProgram } from "../support/cli.js";
import { someRuns, writeSweep } from "../support/report-folders.js";
import { temporaryFolder } from "../support/temporary-folder.js";

const hasLatex =
  spawnSync("pdflatex", ["--version"]).status === 0 && spawnSync("kpsewhich", ["booktabs.sty"]).status === 0;

describe("milora report", () => {
  it("writes HTML that loads nothing, and names the file", async () => {
    const folder = await temporaryFolder();
    writeSweep(join(folder, "sweep"), someRuns);
    const result = await runProgram(["report", "sweep", "--json"], { cwd: folder });
    const file = join(folder, "report.html");
    expect(result.exitCode).toBe(0);
    expect(jsonOf(result)).toMatchObject({ file, format: "html", sections: ["Made up"], problems: [] });
    const html = readFileSync(file, "utf8");
    expect(html).toContain("Runs &amp; methods that nobody trained: 100 % made up.");
    // The charting library, which comes last, names such elements in its own text.
    const ours = html.slice(0, html.indexOf('class="library"'));
    expect(ours.match(/<(script|link|img|iframe)[^>]*(src|href)="(?!data:)[^>]*>/g)).toBe(null);
  });

  it("tells what it could not read and shows the rest; 1 where nothing could be read, 2 for what is not there", async () => {
    const folder = await temporaryFolder();
    writeSweep(join(folder, "sweep"), someRuns);
    const broken = join(folder, "broken.json");
    writeFileSync(broken, '{"results":[{"task":');
    const run = (...args: readonly string[]) => runProgram(["report", ...args], { cwd: folder });
    const partial = await run("sweep", "broken.json", "--format", "md", "--out", "out/tables.md");
    expect(partial).toMatchObject({ exitCode: 0, stdout: join(folder, "out", "tables.md") });
    expect(partial.stderr).toContain(`not read: ${broken}`);
    expect(readFileSync(join(folder, "out", "tables.md"), "utf8")).toContain("## Could not be read");
    expect((await run("broken.json", "--format", "csv")).exitCode).toBe(1);
    expect((await run("nowhere")).exitCode).toBe(2);
    expect((await run("sweep", "--format", "pdf")).exitCode).toBe(2);
    const before = readFileSync(broken, "utf8");
    expect((await run("broken.json", "--out", "broken.json")).exitCode).toBe(2);
    expect(readFileSync(broken, "utf8")).toBe(before);
  });

  it.skipIf(!hasLatex)(`its LaTeX compiles${hasLatex ? "" : " (needs pdflatex with booktabs)"}`, async () => {
    const folder = await temporaryFolder();
    writeSweep(join(folder, "sweep"), someRuns);
    const result = await runProgram(["report", "sweep", "--format", "latex"], { cwd: folder });
    expect(result.exitCode).toBe(0);
    const golden = readFileSync(new URL("../unit/report/golden/report.tex", import.meta.url), "utf8");
    writeFileSync(join(folder, "golden.tex"), golden);
    const page = String.raw`\documentclass{article}\usepackage{booktabs,graphicx}\begin{document}\input{report}\input{golden}\end{document}`;
    writeFileSync(join(folder, "page.tex"), page);
    const compile = async (file: string) => {
      const args = ["-interaction=nonstopmode", "-halt-on-error", file];
      const { stdout, exitCode } = await execa("pdflatex", args, { cwd: folder, reject: false, timeout: 120_000 });
      expect(exitCode, stdout).toBe(0);
      return stdout;
    };
    // Without the figures' PDFs: frames with the SVG files' names. Any PDF stands in for a converted one.
    expect(await compile("page.tex")).not.toContain("report-figures/");
    expect(existsSync(join(folder, "page.pdf"))).toBe(true);
    const [picture = ""] = readdirSync(join(folder, "report-figures")).filter((name) => name.endsWith(".svg"));
    const pdf = picture.replace(/svg$/, "pdf");
    copyFileSync(join(folder, "page.pdf"), join(folder, "report-figures", pdf));
    expect((await compile("page.tex")).replaceAll("\n", "")).toContain(pdf);
  });
});
