import { machine } from 'node:os';
import type { Command } from 'commander';
import { getCapabilities, getModule, hasModules } from '../kernel/index.ts';
import { countErrors, type Diagnostic } from '../language/index.ts';
import {
  CAPABILITIES,
  CAPABILITY_NAMES,
  type Capabilities,
  type Concern,
  formatMark,
  HeadgateError,
} from '../model/index.ts';
import { chooseDatapath, ladderOf } from '../shape/index.ts';
import { type Here, lookHere } from './doctor-here.ts';
import { enablingHint, folderNote, type ModuleFacts } from './doctor-hints.ts';
import { type Diagnosis, formatDiagnosis } from './doctor-report.ts';
import { DEFAULT_POLICY } from './options.ts';
import { print, printJson, wantsColor } from './output.ts';
import { readPolicy } from './policy-file.ts';

interface DoctorOptions {
  device?: string;
  fresh?: boolean;
  json?: boolean;
}

export function addDoctorCommand(program: Command): void {
  program
    .command('doctor')
    .description(
      'say what this kernel can do, found by trying: which datapaths work and why not; and what is in the way here',
    )
    .argument('[file]', 'a policy, to say also what of it would not work here')
    .option('--device <device>', 'say also what `up` would refuse on that network device')
    .option('--fresh', 'try everything again, whatever was found since the boot')
    .option('--json', 'print one JSON object: {release, time, takes, datapaths, capabilities, here}')
    .addHelpText(
      'after',
      `
Examples:
  sudo headgate doctor --device eth0
  sudo headgate doctor my.gate --json | jq '.here.concerns'
  sudo headgate doctor --fresh --json | jq '.datapaths[] | {name, answer}'

Everything is tried in a network namespace that is gone afterwards, with real packets. tc, ip and nft make the kernel
load modules for that, as up would (loading ifb adds ifb0 and ifb1, which are down). The answer holds until the next boot.
Conflicts and blind spots are looked for on the devices of the policy, or of the default routes; nothing is changed.
Exit status: 0 some datapath works, 3 none does, or none is known to (as without root)`,
    )
    .action(async (file: string | undefined, { device, fresh, json }: DoctorOptions) => {
      const capabilities = await getCapabilities({ fresh: fresh === true });
      const diagnosis: Diagnosis = {
        capabilities,
        ...(await getHints(capabilities)),
        here: await tryToLook(capabilities, file, device),
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
async function tryToLook(
  capabilities: Capabilities,
  file: string | undefined,
  device: string | undefined,
): Promise<Here | string> {
  const { policy, diagnostics } = await readPolicy(file ?? DEFAULT_POLICY, 'machine');
  if (!policy) throw new HeadgateError('HG_POLICY', { file: file ?? DEFAULT_POLICY, count: countErrors(diagnostics) });
  const unserved = diagnostics.filter(({ code }) => code === 'unserved').map(asConcern);
  try {
    const here = await lookHere(capabilities, { policy, named: file !== undefined, device });
    return { ...here, concerns: [...here.concerns, ...unserved] };
  } catch (error) {
    if (!(error instanceof HeadgateError) || !['HG_KERNEL', 'HG_NOT_ROOT'].includes(error.code)) throw error;
    return String(error.fields.said ?? error.message);
  }
}

/** A word of a rule that this machine cannot serve. */
const asConcern = ({ file, range, message, hint }: Diagnostic): Concern => ({
  check: 'unserved',
  severity: 'warning',
  what: `${file}:${range.start.line + 1}: ${message}`,
  advice: hint ?? '',
});

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
        : {
            ...here,
            refusals: here.refusals.map(plainError),
            marks: {
              ...here.marks,
              wouldTake:
                typeof here.marks.wouldTake === 'string' ? here.marks.wouldTake : plainError(here.marks.wouldTake),
              uses: here.marks.uses.map((use) => ({ ...use, bits: formatMark(use.bits) })),
            },
          },
  };
}

const plainError = ({ code, message, hint }: HeadgateError) => ({ code, message, hint });
