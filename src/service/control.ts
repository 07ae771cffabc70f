import type { IncomingMessage, ServerResponse } from 'node:http';
import { listenLocal, type Peer } from '../kernel/index.ts';
import { HeadgateError } from '../model/index.ts';
import { isAllowed } from './access.ts';
import { type Answers, fail, giveAnswer, readTarget } from './answers.ts';
import { MOST_CONFIRM_MS, type Unconfirmed } from './confirmation.ts';
import type { ReloadResult } from './reload.ts';
import type { WebAddress } from './serve-web.ts';

/** What the control socket gives access to beyond what can be read. */
export interface Controlled {
  /** `confirm`: ms in which it has to be confirmed. */
  readonly reload: (confirm: number | undefined) => Promise<ReloadResult>;
  /** @throws HeadgateError HG_CONFIRM */
  readonly confirm: () => Promise<Unconfirmed>;
  /** @throws HeadgateError HG_NO_WEB */
  readonly web: () => WebAddress;
}

/**
 * Serves, to whom {@link isAllowed} lets, what {@link listAnswers} has, `GET /web`, `POST /reload?confirm=MS` and `/confirm`.
 * Who may not ask gets status 403.
 *
 * @returns also why the group of readers is shut out, where it is
 */
export async function serveControl(
  readable: Answers,
  controlled: Controlled,
): Promise<{ problem?: string | undefined; close(): Promise<void> }> {
  const answers: Answers = {
    ...readable,
    'GET /web': controlled.web,
    'POST /reload': (parameters) => controlled.reload(readConfirm(parameters)),
    'POST /confirm': controlled.confirm,
  };
  const listener = (request: IncomingMessage, response: ServerResponse, peer: Peer): void => {
    const { what } = readTarget(request);
    if (isAllowed(request.method ?? '', peer, { user: process.geteuid!(), group: server.group }))
      void giveAnswer(answers, request, response);
    else fail(response, 403, new HeadgateError('HG_FORBIDDEN', { what, uid: peer.uid }));
  };
  const server = await listenLocal(listener);
  return server;
}

/** @throws HeadgateError HG_USAGE */
function readConfirm(parameters: URLSearchParams): number | undefined {
  const text = parameters.get('confirm');
  if (text === null) return undefined;
  const ms = Number(text);
  if (!Number.isInteger(ms) || ms < 1 || ms > MOST_CONFIRM_MS)
    throw new HeadgateError('HG_USAGE', {
      problem: `confirm=${text}: not 1 to ${MOST_CONFIRM_MS} ms`,
      command: 'reload',
    });
  return ms;
}
