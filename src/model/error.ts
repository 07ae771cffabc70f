/**
 * Every way in which a command can fail, with the exit code it ends with and what the person can do about it.
 * `{name}` in a message is filled from the error's fields. docs/errors.md lists the same; a test holds both together.
 */
export const ERRORS = {
  HG_USAGE: { exit: 2, message: '{problem}', hint: 'headgate {command} --help shows how it is called.' },
  HG_POLICY: {
    exit: 1,
    message: '{file}: {count} in the policy; nothing was changed.',
    hint: 'headgate check {file} shows them again.',
  },
  HG_FILE: {
    exit: 2,
    message: 'cannot read {file}: {problem}',
    hint: 'Name one that can be read, or - for standard input; a policy has at most 16 MiB.',
  },
  HG_WRITE: {
    exit: 2,
    message: 'cannot write {file}: {problem}',
    hint: 'Mend that, or name another file. What was there before still is.',
  },
  HG_FILE_EXISTS: {
    exit: 4,
    message: '{file} exists already.',
    hint: 'Give another name, or --force to replace it.',
  },
  HG_LINK_INCOMPLETE: {
    exit: 2,
    message: 'link {link} has no {missing}.',
    hint: 'Write it into the link block, or give --device, --download or --upload.',
  },
  HG_NOT_ROOT: { exit: 3, message: 'this needs root: {what}.', hint: 'Run it with sudo.' },
  HG_FORBIDDEN: {
    exit: 3,
    message: 'the running service refuses {what} to user {uid}.',
    hint: 'Root may ask and change everything; members of the group headgate may ask: status, events, explain --live.',
  },
  HG_NO_TOOL: { exit: 3, message: '{tool} is not installed.', hint: 'On Debian: apt-get install {package}' },
  HG_NO_SHIM: { exit: 3, message: 'the native shim cannot be loaded: {problem}', hint: 'Build it: npm run build' },
  HG_NO_BTF: {
    exit: 3,
    message: 'this kernel has no BTF (/sys/kernel/btf/vmlinux), so the bpf datapath cannot look at conntrack.',
    hint: 'Use a kernel with CONFIG_DEBUG_INFO_BTF=y; those of Debian, Ubuntu, Fedora and Arch have it.',
  },
  HG_NO_KERNEL: { exit: 3, message: 'this kernel cannot do {what}: {problem}', hint: 'It needs {needs}.' },
  HG_DEVICE_NAME: {
    exit: 2,
    message: '"{device}" is no device name that can be written for tc and ip.',
    hint: 'It has 1 to 15 ASCII characters, and no white space, quotes, / : # \\ ; { or } in it; rename a device that has.',
  },
  HG_RATE: {
    exit: 2,
    message: 'link {link}: {direction} {rate} is too {amiss}.',
    hint: 'The least is {least}, the most {most}; units are kbit, mbit, gbit.',
  },
  HG_NO_PLACE: {
    exit: 3,
    message: 'cannot write below {folder}: {problem}',
    hint: 'Headgate keeps its socket and the classifier there while it runs.',
  },
  HG_NO_DEVICE: { exit: 3, message: 'there is no network device "{device}".', hint: 'Devices here: {devices}' },
  HG_NO_TAP: {
    exit: 3,
    message: 'there is no tap of ours named {name}.',
    hint: 'Taps here: {taps}. A rule makes one while headgate runs: mirror to NAME',
  },
  HG_NO_QUEUE: {
    exit: 3,
    message: 'there is no queue {name} in the kernel{where}.',
    hint: 'Queues here: {queues}. `headgate status` shows them',
  },
  HG_IFB_TAKEN: {
    exit: 4,
    message: 'a device named {ifb} exists and is not ours.',
    hint: 'Rename or remove it: ip link show {ifb}',
  },
  HG_QDISC_TAKEN: {
    exit: 4,
    message: '{device} has a root qdisc that is not ours: {found}.',
    hint: 'Remove it (tc qdisc del dev {device} root), write `replace root-qdisc` into the link, which puts it back at the end, if it has no classes; or leave upload out to shape arriving packets only.',
  },
  HG_FILTER_TAKEN: {
    exit: 4,
    message: '{device} has ingress filters that are not ours: {found}.',
    hint: 'Look at them (tc filter show dev {device} ingress); they would no longer see what Headgate redirects. Remove them, or take --datapath map, which comes behind them.',
  },
  HG_CHAIN_TAKEN: {
    exit: 4,
    message: '{device} has netdev ingress rules of somebody else: {found}.',
    hint: 'Packets that Headgate redirects would pass by them unseen. Move them to a prerouting chain, take --datapath map, or write `bypass netdev-ingress` into the link.',
  },
  HG_NAT_TAKEN: {
    exit: 4,
    message: 'link {link} says `conntrack create`, and NAT is here: {found}.',
    hint: 'Entries that are made on arrival get no translation. Take `conntrack create` out of the link, or those chains out of this network namespace.',
  },
  HG_CREATE_DATAPATH: {
    exit: 2,
    message: 'link {link} says `conntrack create`, and datapath {datapath} makes no conntrack entries.',
    hint: 'Say --datapath ct, or none; headgate doctor tells whether it works here. Or take `conntrack create` out of the link.',
  },
  HG_TABLE_TAKEN: {
    exit: 4,
    message: 'an nft table {table} exists and is not ours.',
    hint: 'Look at it: nft list table {table}',
  },
  HG_MARK_TAKEN: {
    exit: 4,
    message: 'the bits {mask} of the mark, which the policy asks for, are used by {who}.',
    hint: 'Seen in: {where}. Take others in the policy: {free}.',
  },
  HG_MARK_NONE: {
    exit: 4,
    message: 'no {bits} bits of the mark that stand side by side are free for {classes} classes: {who} use them.',
    hint: 'Narrow the mask of one of them; headgate doctor shows where each stands.',
  },
  HG_MARK_COMPARED: {
    exit: 4,
    message: '{who} compares the whole mark, and would not find flows that a rule of the policy has marked.',
    hint: 'Seen in: {where}. Give it a mask without {mask} (nft: ct mark and MASK; ip rule: fwmark VALUE/MASK), or write `marks {mask}` into the policy to go on all the same.',
  },
  HG_RUNNING: {
    exit: 4,
    message: 'headgate runs here already (pid {pid}).',
    hint: 'headgate status shows it; headgate down stops it, also where it hangs.',
  },
  HG_NOT_RUNNING: {
    exit: 6,
    message: 'headgate is not running in this network namespace, or does not answer.',
    hint: 'Start it: headgate up. One that hangs: headgate down ends it.',
  },
  HG_WEB_ADDRESS: {
    exit: 2,
    message: '--web {address}: {problem}.',
    hint: 'For example: headgate up --web 127.0.0.1:8053; port 0 takes any that is free.',
  },
  HG_WEB_TAKEN: {
    exit: 4,
    message: 'the web page cannot listen on {address}: {problem}',
    hint: 'Take another port, 1024 or above; ss -ltnp shows who has one, and 0 takes any that is free.',
  },
  HG_NO_WEB: {
    exit: 1,
    message: 'the running service has no web page.',
    hint: 'Start it with one: headgate up --web 127.0.0.1:8053',
  },
  HG_WEB_REFUSED: {
    exit: 3,
    message: 'the web page refuses this: {problem}.',
    hint: 'headgate web prints its address, with the key in it.',
  },
  HG_CONFIRM: {
    exit: 1,
    message: 'nothing waits to be confirmed.',
    hint: 'Either it is confirmed already, or it was taken back: headgate status says what runs.',
  },
  HG_CONFIRM_FIRST: {
    exit: 1,
    message: 'a change waits to be confirmed; until then there is no other.',
    hint: 'headgate confirm keeps it; without, it is taken back at {until}.',
  },
  HG_UNCONFIRMED: {
    exit: 1,
    message: 'nobody confirmed it within {seconds} s: everything was taken back.',
    hint: 'Type headgate confirm in time, from where you would have lost the box.',
  },
  HG_NO_FLOW: {
    exit: 1,
    message: 'the running service knows no flow "{flow}".',
    hint: 'headgate events shows those that come; write it as: tcp 10.0.0.5:40000 -> 1.1.1.1:443, an IPv6 address with its port as [2001:db8::1]:443',
  },
  HG_RELOAD: {
    exit: 1,
    message: 'the policy cannot be changed while it runs: {reason}. The running one stays.',
    hint: 'Stop headgate and start it with the new policy.',
  },
  HG_KERNEL: {
    exit: 5,
    message: '"{command}" failed: {problem}',
    hint: 'What was done before it was undone. Running it by hand may show more.',
  },
  HG_FILTER_CHANGED: {
    exit: 5,
    message: 'the kernel was asked for a filter on {device}, "{asked}", and holds another: {held}.',
    hint: 'It was built without a part of tc that this needs. What was done before was undone; headgate up --datapath takes another way.',
  },
  HG_TREE_CHANGED: {
    exit: 5,
    message: 'the kernel was asked for "{asked}" on {device}, and holds another: {held}.',
    hint: 'Either somebody else is at work on that device (tc monitor shows it), or the kernel does otherwise than it says. What was done before was undone.',
  },
  HG_LAB: { exit: 5, message: 'the demo could not run: {problem}', hint: 'Everything it had built was taken down.' },
} as const satisfies Record<string, { exit: number; message: string; hint: string }>;

export type ErrorCode = keyof typeof ERRORS;

export const isErrorCode = (text: string): text is ErrorCode => Object.hasOwn(ERRORS, text);

/** An error with a code of the catalogue. Match by `code`, never by text. */
export class HeadgateError extends Error {
  readonly code: ErrorCode;
  readonly hint: string;
  readonly exit: number;
  readonly fields: Readonly<Record<string, string | number>>;

  constructor(code: ErrorCode, fields: Record<string, string | number> = {}, options?: ErrorOptions) {
    const entry = ERRORS[code];
    const fill = (template: string) =>
      template.replace(/\{(\w+)\}/g, (whole, name: string) => String(fields[name] ?? whole));
    super(fill(entry.message), options);
    this.name = 'HeadgateError';
    this.code = code;
    this.hint = fill(entry.hint);
    this.exit = entry.exit;
    this.fields = fields;
  }
}

/** What a thrown thing says. */
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
