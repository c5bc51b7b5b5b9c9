/** The rank of a module: its own, or the method's. */
export const rankOf = (
  method: { readonly rank: number; readonly ranks?: Readonly<Record<string, number>> | undefined },
  module: string,
): number => method.ranks?.[module] ?? method.rank;
