/** Pausing: says first what is kept and what is lost, then that it is done. */
import { Dialog, showDialog } from '@jupyterlab/apputils';
import React from 'react';

import type { Context } from './context';
import { pagesLink } from './links';
import { asApiError, GoneError } from './refusal';
import { PANEL_ID } from './tokens';
import type { Mount } from './wire';

const LIST = 'vessl-dialog-list';

function Paths(props: { title: string; mounts: Mount[] }): JSX.Element | null {
  return props.mounts.length ? (
    <>
      <dt>{props.title}</dt>
      {props.mounts.map(mount => (
        <dd key={mount.mountPath}>
          <code>
            <bdi>{mount.mountPath}</bdi>
          </code>
        </dd>
      ))}
    </>
  ) : null;
}

function Losses({ context }: { context: Context }): JSX.Element {
  const { model, trans } = context;
  const mounts = model.status?.service?.mounts ?? [];
  return (
    <div className="vessl-dialog">
      <p>{trans.__('Everything that runs stops: kernels, terminals and programs. Unsaved changes are lost.')}</p>
      <dl className={LIST}>
        <Paths title={trans.__('Kept')} mounts={mounts.filter(mount => mount.kind !== 'temporary')} />
        <Paths
          title={trans.__('Gone for good (temporary storage)')}
          mounts={mounts.filter(mount => mount.kind === 'temporary')}
        />
      </dl>
      <p>{trans.__('From then on only storage is billed. You can resume whenever you like.')}</p>
    </div>
  );
}

/** Ask, pause, and say that it is done with the way to the workspaces; a refusal is shown as it is. */
export async function pauseWorkspace(context: Context): Promise<void> {
  const { model, trans } = context;
  const answer = await showDialog({
    title: trans.__('Pause this workspace now?'),
    body: <Losses context={context} />,
    buttons: [
      Dialog.cancelButton({ label: trans.__('Keep it running') }),
      Dialog.warnButton({ label: trans.__('Pause now') })
    ],
    defaultButton: 0
  });
  if (!answer.button.accept) {
    return;
  }
  try {
    await model.pause();
  } catch (error) {
    await showDialog({
      title: error instanceof GoneError ? trans.__('Nothing runs here') : trans.__('It was not paused'),
      body: asApiError(error).sentence,
      buttons: [Dialog.okButton()]
    });
    return;
  }
  await sayPaused(context);
}

async function sayPaused({ model, trans }: Context): Promise<void> {
  const pages = pagesLink(model.status?.service?.pagesUrl, document.baseURI);
  const stay = Dialog.cancelButton({ label: trans.__('Stay on this page') });
  const answer = await showDialog({
    title: trans.__('The workspace is paused'),
    body: (
      <div className="vessl-dialog">
        <p>{trans.__('It is stopping now and computing costs nothing any more.')}</p>
        <p>{trans.__('What this page still shows can be copied, but nothing can be run or saved until you resume.')}</p>
        {pages && (
          <p>
            <a href={pages}>{trans.__('Go to your workspaces')}</a>
          </p>
        )}
      </div>
    ),
    buttons: pages ? [stay, Dialog.okButton({ label: trans.__('To the workspaces') })] : [stay],
    hasClose: false
  });
  if (pages && answer.button.accept) {
    window.location.assign(pages);
  } else if (document.activeElement === document.body) {
    // the button that led here is gone
    document.getElementById(PANEL_ID)?.focus();
  }
}
