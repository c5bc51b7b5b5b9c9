/** A value as a CSV file holds it. */
export type DataValue = string | number | null;

/** One cell: what people read, and the values behind it, one for each of its column's CSV names. */
export interface Cell {
  readonly text: string;
  readonly values: readonly DataValue[];
  /** As the paper's tables mark it: best in bold, second best underlined. */
  readonly mark?: "best" | "second" | undefined;
  /** The ranges of this value and of the best one touch, so no difference is shown. */
  readonly inside?: boolean | undefined;
}

export interface Column {
  readonly title: string;
  /** Numbers stand at the right. */
  readonly numeric: boolean;
  /** Names of its values in CSV, snake_case with the unit where there is one. */
  readonly csv: readonly string[];
}

/** A table in no format yet; every format is written from it. */
export interface ReportTable {
  readonly title: string;
  readonly columns: readonly Column[];
  readonly rows: readonly (readonly Cell[])[];
  /** What stands above it: the protocol, levels of chance. */
  readonly before: readonly string[];
  /** What stands below it: what it shows, and what not. */
  readonly notes: readonly string[];
  /** Values that hold for every row; columns of their own in CSV alone. */
  readonly context: Readonly<Record<string, DataValue>>;
}

export type Datum = Readonly<Record<string, DataValue>>;

/** A figure: a Vega-Lite specification and its data, which can also be had as CSV. */
export interface ReportFigure {
  readonly title: string;
  /** What is drawn, how to read it, what it does not show. */
  readonly caption: string;
  /** Without `data`. */
  readonly spec: Readonly<Record<string, unknown>>;
  readonly data: readonly Datum[];
}

export interface ReportSection {
  readonly title: string;
  readonly text: readonly string[];
  readonly tables: readonly ReportTable[];
  readonly figures: readonly ReportFigure[];
}

/** What could not be read, or not all of it, and why. */
export interface ReportProblem {
  readonly place: string;
  readonly problem: string;
}

/** All that a report shows; {@link reportFiles} writes it. */
export interface Report {
  readonly title: string;
  readonly text: readonly string[];
  readonly sections: readonly ReportSection[];
  readonly problems: readonly ReportProblem[];
}
