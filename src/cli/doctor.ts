import { machine } from 'node:os';
import type { Command } from 'commander';
import { getCapabilities, getModule, hasModules } from '../kernel/index.ts';
import { CAPABILITIES, CAPABILITY_NAMES, type Capabilities, HeadgateError } from '../model/index.ts';
import { chooseDatapath, ladderOf } from '../shape/index.ts';
import { type Here, lookHere } from './doctor-here.ts';
import { enablingHint, folderNote, type ModuleFacts } from './doctor-hints.ts';
import { type Diagnosis, formatDiagnosis } from './doctor-report.ts';
import { print, printJson, wantsColor } from './output.ts';
import { DEFAULT_POLICY, loadPolicy } from './policy-file.ts';

interface DoctorOptions {
  device?: string;
  fresh?: boolean;
  json?: boolean;
}

export function addDoctorCommand(program: Command): void {
  program
    .command('doctor')
    .description(
      'say what this kernel can do, found by trying: which datapaths work and why not, and what is in the way',
    )
    .option('--device <device>', 'say also what `up` would refuse on that network device')
    .option('--fresh', 'try everything again, whatever was found since the boot')
    .option('--json', 'print one JSON object: {release, time, takes, datapaths, capabilities, here}')
    .addHelpText(
      'after',
      `
Examples:
  sudo headgate doctor --device eth0
  sudo headgate doctor --fresh --json | jq '.datapaths[] | {name, answer}'

Everything is tried in a network namespace that is gone afterwards, with real packets. tc, ip and nft make the kernel
load modules for that, as up would (loading ifb adds ifb0 and ifb1, which are down). The answer holds until the next boot.
Exit status: 0 some datapath works, 3 none does, or none is known to (as without root)`,
    )
    .action(async ({ device, fresh, json }: DoctorOptions) => {
      const capabilities = await getCapabilities({ fresh: fresh === true });
      const diagnosis: Diagnosis = {
        capabilities,
        ...(await getHints(capabilities)),
        here: await tryToLook(capabilities, device),
        device,
      };
      if (json) printJson(asJson(diagnosis));
      else print(formatDiagnosis(diagnosis, wantsColor(process.stdout)));
      if (chooseDatapath(capabilities) === undefined) process.exitCode = 3;
    });
}

/** What would enable each capability that the kernel does not have. */
async function getHints({ release, findings }: Capabilities): Promise<Pick<Diagnosis, 'hints' | 'note'>> {
  const missing = CAPABILITY_NAMES.filter((name) => findings[name].answer === 'no');
  const modules = new Map<string, ReturnType<ModuleFacts['modules']['get']> & {}>();
  try {
    await Promise.all(
      [...new Set(missing.flatMap((name): readonly string[] => CAPABILITIES[name].modules))].map(async (name) => {
        const found = await getModule(name);
        modules.set(name, found.state === 'file' ? found : found.state);
      }),
    );
  } catch (error) {
    // Without kmod the hints name options of the kernel alone.
    if (!(error instanceof HeadgateError) || error.code !== 'HG_NO_TOOL') throw error;
  }
  const facts: ModuleFacts = { release, machine: machine(), folder: await hasModules(), modules };
  return { hints: new Map(missing.map((name) => [name, enablingHint(name, facts)])), note: folderNote(facts) };
}

/** @throws HeadgateError HG_NO_DEVICE */
async function tryToLook(capabilities: Capabilities, device: string | undefined): Promise<Here | string> {
  try {
    return await lookHere(capabilities, await loadPolicy(DEFAULT_POLICY), device);
  } catch (error) {
    if (!(error instanceof HeadgateError) || error.code !== 'HG_KERNEL') throw error;
    return String(error.fields.said);
  }
}

function asJson({ capabilities, hints, here }: Diagnosis): unknown {
  const { release, time, findings } = capabilities;
  return {
    release,
    time,
    takes: chooseDatapath(capabilities),
    datapaths: ladderOf(capabilities).map(({ datapath, answer, lacks }) => ({
      name: datapath,
      answer,
      lacks,
    })),
    capabilities: Object.fromEntries(
      CAPABILITY_NAMES.map((name) => [name, { ...findings[name], enable: hints.get(name) }]),
    ),
    here:
      typeof here === 'string'
        ? { unknown: here }
        : { ...here, refusals: here.refusals.map(({ code, message, hint }) => ({ code, message, hint })) },
  };
}
