export { estimateText, type CostEstimate } from "../evaluate/judge/cost.js";
export { judge, type Judging } from "../evaluate/judge/judge.js";
