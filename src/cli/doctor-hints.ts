import { CAPABILITIES, type Capability, type CapabilitySource } from '../model/index.ts';

/** Where modules come from here, for those that were asked for. */
export interface ModuleFacts {
  /** Of the running kernel. */
  readonly release: string;
  /** uname(1)'s machine: `x86_64`. */
  readonly machine: string;
  /** /lib/modules has a folder for the running kernel. */
  readonly folder: boolean;
  readonly modules: ReadonlyMap<
    string,
    'built-in' | 'absent' | { readonly path: string; readonly blocked?: string | undefined }
  >;
}

/** What would give the kernel a capability that it lacks, in a sentence without a full stop. */
export function enablingHint(capability: Capability, facts: ModuleFacts): string {
  const { modules, config, since }: CapabilitySource = CAPABILITIES[capability];
  const options = config.join(', ');
  for (const name of modules) {
    const module = facts.modules.get(name);
    if (typeof module !== 'object') continue;
    if (module.blocked !== undefined)
      return `module ${name} is there, but modprobe.d says "${module.blocked}": take that line out of /etc/modprobe.d`;
  }
  const absent = modules.filter((name) => facts.modules.get(name) === 'absent');
  const needs = absent.length > 0 ? `${plural('module', absent)} ${absent.join(', ')} (${options})` : options;
  if (absent.length > 0) return `needs ${needs}${facts.folder ? `; ${debianHint(facts)}` : ''}`;
  const present = modules.filter((name) => typeof facts.modules.get(name) === 'object');
  const version = since === undefined ? '' : ` and Linux ${since}`;
  if (present.length > 0)
    return `needs ${options}${version}; ${plural('module', present)} ${present.join(', ')} ${present.length > 1 ? 'are' : 'is'} installed: modprobe says why if one does not load`;
  return `needs a kernel with ${options}${version}`;
}

/** What is to be said once where no module at all can be loaded. */
export const folderNote = ({ release, folder }: ModuleFacts): string | undefined =>
  folder
    ? undefined
    : `/lib/modules has nothing for ${release}: if a kernel was installed since the boot, boot it; if not, it has only what is built in`;

const plural = (word: string, of: readonly unknown[]): string => (of.length > 1 ? `${word}s` : word);

const ARCHITECTURES: Readonly<Record<string, string>> = {
  x86_64: 'amd64',
  aarch64: 'arm64',
  armv7l: 'armmp',
  i686: '686-pae',
};

/** Debian builds one kernel for all, with every module, and one for clouds that lacks many. */
function debianHint({ release, machine }: ModuleFacts): string {
  const name = `linux-image-${ARCHITECTURES[machine] ?? machine}`;
  return /-cloud-/.test(release)
    ? `Debian's cloud kernel lacks it: apt-get install ${name}, and boot that`
    : `Debian's package ${name} has it`;
}
