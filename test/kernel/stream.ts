import { type Namespace, Program, packageFile } from '../../src/lab/index.ts';
import { PATIENCE } from './soon.ts';

const STREAM = packageFile('native-shim/build/stream');

/** Numbered packets of several flows from one place to another, until it is stopped (native-shim/lab/stream.c). */
export interface Way {
  readonly from: Namespace;
  readonly to: Namespace;
  readonly address: string;
  /** Destination port of the first flow; those of the others follow it. */
  readonly port: number;
  readonly flows: number;
  /** Packets a second, of all flows together. */
  readonly rate: number;
}

export interface StreamResult {
  /** Packets a second that the sender came to: less than it was asked for where the machine was busy. */
  readonly rate: number;
  readonly sent: readonly number[];
  /** Of each flow, what was sent and did not come, and what came again. */
  readonly lost: readonly number[];
  readonly twice: readonly number[];
  /** What came, and the receiver's socket had no room for. */
  readonly overrun: number;
}

const SOURCE = 20_000;

/** Sends by each of the ways while `task` goes on; a second after that nothing is under way any more. */
export async function streamWhile(ways: readonly Way[], task: () => Promise<void>): Promise<StreamResult[]> {
  const running = await Promise.all(
    ways.map(async ({ from, to, address, port, flows, rate }) => {
      const start = async (where: Namespace, ...args: readonly string[]) => {
        const program = Program.start('stream', [STREAM, ...args], { netns: where.name });
        await program.line((line) => line === 'ready', 10_000 * PATIENCE);
        return program;
      };
      const at = [address, `${port}`, `${flows}`] as const;
      const receiver = await start(to, 'receive', ...at);
      return { receiver, sender: await start(from, 'send', ...at, `${rate}`, `${SOURCE}`) };
    }),
  );
  try {
    await task();
  } finally {
    await Promise.all(running.map(({ sender }) => sender.stop()));
    await Promise.all(running.map(({ receiver }) => receiver.stop()));
  }
  return running.map(({ sender, receiver }) => {
    const sent = JSON.parse(sender.output.at(-1)!) as { sent: number; seconds: number; flows: number[] };
    const got = JSON.parse(receiver.output.at(-1)!) as {
      flows: { packets: number; twice: number }[];
      overrun: number;
    };
    return {
      rate: sent.sent / sent.seconds,
      sent: sent.flows,
      lost: sent.flows.map((count, flow) => count - got.flows[flow]!.packets),
      twice: got.flows.map(({ twice }) => twice),
      overrun: got.overrun,
    };
  });
}
