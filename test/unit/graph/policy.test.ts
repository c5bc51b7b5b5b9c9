import { describe, expect, it } from "vitest";
import { resolveGraph } from "../../../ts/graph/model-graph.js";
import { resolvePolicy } from "../../../ts/graph/policy.js";
import { llamaDescription } from "../../support/graphs.js";

const graph = resolveGraph(llamaDescription({ layers: 4, hidden: 8, ffn: 16 }));

describe("resolvePolicy", () => {
  it("leaves the decision to the routers when it is learned", () => {
    expect(resolvePolicy({ kind: "learned" }, graph, 3)).toEqual([null, null, null, null]);
  });

  it("spreads a table over its layers, in the layer's order; others have no active expert", () => {
    const table = resolvePolicy({ kind: "fixed", layers: { "0-1": ["v", "q"], "3": ["down"] } }, graph, 3);
    expect(table).toEqual([["q", "v"], ["q", "v"], [], ["down"]]);
  });

  it("draws k experts a layer by the seed, not the same ones in every layer", () => {
    const draw = (seed: number) => resolvePolicy({ kind: "random", seed }, graph, 2);
    expect(draw(1)).toEqual(draw(1));
    expect(draw(1)).not.toEqual(draw(2));
    expect(draw(1).every((layer) => layer?.length === 2)).toBe(true);
    expect(new Set(draw(1).map(String)).size).toBeGreaterThan(1);
  });

  it("activates everything with all", () => {
    expect(resolvePolicy({ kind: "all" }, graph, 1).every((layer) => layer?.length === 7)).toBe(true);
  });

  it.each([
    ["an unknown expert", { "0": ["dwn"] }, /Unknown expert of model\.layers\.0 "dwn": did you mean "down"/],
    ["a layer that is not there", { "0-9": ["q"] }, /has layers 0 to 3/],
    ["a layer named twice", { "0-2": ["q"], "2": ["v"] }, /names layer 2 twice/],
  ])("refuses %s", (_what, layers, message) => {
    expect(() => resolvePolicy({ kind: "fixed", layers }, graph, 3)).toThrow(message);
  });
});
