/**
 * The text to learn for a reasoned answer: the rationale where a reader finds the right answer in it; followed by
 * `statement` where it states none; `statement` alone where it states another.
 */
export const reasonedTarget = (options: {
  readonly rationale: string;
  readonly statement: string;
  readonly answer: string;
  readonly read: (text: string) => string | null;
}): string => {
  const { rationale, statement, answer, read } = options;
  const stated = read(rationale);
  if (stated === answer) return rationale;
  const isStatement = read(statement) === answer && read(`${rationale}\n${statement}`) === answer;
  return stated === null && rationale !== "" && isStatement ? `${rationale}\n${statement}` : statement;
};
