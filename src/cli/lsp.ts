import type { Command } from 'commander';
import { readInclude } from '../kernel/files.ts';
import { VERSION } from './version.ts';

export function addLspCommand(program: Command): void {
  program
    .command('lsp')
    .description('serve editors by the Language Server Protocol, on standard input and output')
    .option('--stdio', 'the same; some editors say so')
    .addHelpText(
      'after',
      `
Examples:
  headgate lsp                             as editors start it; docs/editor/README.md says how to tell them
  vim.lsp.start({ name = 'headgate', cmd = { 'headgate', 'lsp' } })           in Neovim

Exit status: 0 the editor said shutdown and exit, 1 it went away without, or what it sent was no message`,
    )
    .action(async () => {
      // The protocol's packages are for this command alone to load.
      const { serve } = await import('../lsp/index.ts');
      serve(process.stdin, process.stdout, { version: VERSION, include: readInclude });
    });
}
