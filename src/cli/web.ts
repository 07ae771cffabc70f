import type { Command } from 'commander';
import { requestWeb } from '../service/ask.ts';
import { print, printJson } from './output.ts';

export function addWebCommand(program: Command): void {
  program
    .command('web')
    .description('print the address of the web page of the running headgate, with the key that opens it')
    .option('--json', 'print one JSON object: {url, tokenFile}')
    .addHelpText(
      'after',
      `
Examples:
  sudo headgate web
  xdg-open "$(headgate web)"           where you are in the group headgate
  ssh -L 8053:127.0.0.1:8053 router    from afar, with up --web 127.0.0.1:8053 there; then headgate web, there

The key is another after each start. For root, and members of the group headgate (docs/systemd).
Exit status: 0 printed; 1 it was started without --web; 3 neither; 6 headgate is not running`,
    )
    .action(async ({ json }: { json?: boolean }) => {
      const address = await requestWeb();
      if (json) printJson(address);
      else print(address.url);
    });
}
