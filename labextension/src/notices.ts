/** Tells what the service wants to be told, each thing once. */
import { Notification } from '@jupyterlab/apputils';

import type { Context } from './context';
import { sentences } from './format';
import { SeenNotices } from './seen';
import { CommandIDs } from './tokens';

/** Show new notices whenever the model has them; a warning or an error stays until it is dismissed. */
export function tellNotices(context: Context, workspaceId: string): void {
  const { app, model, settings, trans } = context;
  const seen = new SeenNotices(workspaceId, () => window.localStorage);
  model.changed.connect(() => {
    const notices = model.status?.service?.notices ?? [];
    if (!settings().notices || !notices.length) {
      return;
    }
    for (const notice of seen.take(notices)) {
      Notification.emit(sentences(notice.message), notice.level, {
        autoClose: notice.level === 'info' ? 10_000 : false,
        actions: [
          {
            label: trans.__('Show'),
            caption: trans.__('Show the workspace panel'),
            callback: () => void app.commands.execute(CommandIDs.showPanel)
          }
        ]
      });
    }
  });
}
