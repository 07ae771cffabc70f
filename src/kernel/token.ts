import { rm, writeFile } from 'node:fs/promises';
import { CONTROL_GROUP, getGroupId } from './group.ts';
import { giveToGroup } from './local-socket.ts';
import { getStatePath, inStateFolder } from './machine.ts';

/**
 * Puts the web page's token where those may read it who may ask the control socket: mode 0600, 0640 where there is a group
 * {@link CONTROL_GROUP}. Returns the path. @throws HeadgateError HG_NO_PLACE
 */
export async function replaceToken(token: string): Promise<string> {
  const path = await getStatePath('token');
  const group = await getGroupId(CONTROL_GROUP);
  await inStateFolder(async () => {
    // One that was there, whoever may read it, is none to write into.
    await rm(path, { force: true });
    await writeFile(path, token, { mode: 0o600, flag: 'wx' });
    await giveToGroup(path, group, 0o640);
  });
  return path;
}

export const delToken = async (): Promise<void> => rm(await getStatePath('token'), { force: true });
