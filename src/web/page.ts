// The page: what is asked when, and where it is shown (docs/architecture.md).

import type { PolicyView, Status } from '../service/index.ts';
import { Connection, repeat } from './connection.ts';
import { at, setText } from './dom.ts';
import { Feed } from './feed.ts';
import { FlowsView } from './flows-view.ts';
import { Rates } from './history.ts';
import { LinksView } from './links-view.ts';
import { PolicyText } from './policy-text.ts';
import { get, takeToken } from './service.ts';
import { Story } from './story.ts';
import { Ticker } from './ticker.ts';

const STATUS_MS = 1000;
const FLOWS_MS = 2000;
const POLICY_MS = 3000;

takeToken();
const connection = new Connection();
const rates = new Rates();
const links = new LinksView();
const story = new Story(connection);
const text = new PolicyText();
let policy: PolicyView | undefined;

const readStatus = async (): Promise<void> => {
  const status = await get<Status>('/status');
  connection.answered();
  const tracks = rates.add(status, performance.now());
  const { flows, datapath, overruns = 0, resyncs = 0 } = status.service ?? {};
  const origins = flows ? `${flows.total} flows: local ${flows.local}, remote ${flows.remote}, new ${flows.new}` : '';
  setText(at('summary'), [origins, datapath && `datapath ${datapath}`].filter(Boolean).join(' · '));
  setText(
    at('losses'),
    overruns > 0 ? `the kernel dropped events ${overruns} times; ${resyncs} looks made it good` : '',
  );
  policy ??= await get<PolicyView>('/policy');
  links.show(status.links, tracks, policy);
};
const statusAgain = repeat(STATUS_MS, connection, readStatus);

const feed = new Feed(connection, (items) => ticker.add(items));
const ticker = new Ticker(feed, (flow) => story.open(flow));
void ticker.open();

const flows = new FlowsView(
  () => flowsAgain(),
  (flow) => story.open(flow),
);
const flowsAgain = repeat(FLOWS_MS, connection, () => flows.read());

const policyAgain = repeat(POLICY_MS, connection, async () => {
  policy = await get<PolicyView>('/policy');
  text.show(policy);
  ticker.offer(policy);
});

document.addEventListener('visibilitychange', () => (document.hidden ? feed.pause() : feed.resume()));

// The address of a headgate that was started anew differs in its fragment alone: no load comes of that.
addEventListener('hashchange', () => {
  takeToken();
  connection.answered();
  for (const again of [statusAgain, flowsAgain, policyAgain, story.again]) again();
  void ticker.open();
});
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => links.draw());
