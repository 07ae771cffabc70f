/** A command as an argument vector; no shell ever sees it. */
export type Argv = readonly [tool: string, ...args: string[]];

/** A command with, where it reads any, the text for its standard input. */
export interface Command {
  readonly argv: Argv;
  readonly input?: string | undefined;
}
