/** A chain of a table, as nft writes it: a line for its head, one for each rule, one for its end. */
export const chain = (name: string, lines: readonly string[]): string[] => [
  `chain ${name} {`,
  ...lines.map((line) => `  ${line}`),
  '}',
];
