/** What every part of the extension is given. */
import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { TranslationBundle } from '@jupyterlab/translation';

import type { Place } from './format';
import type { WorkspaceModel } from './model';
import type { Settings } from './tokens';

export interface Context {
  app: JupyterFrontEnd;
  model: WorkspaceModel;
  trans: TranslationBundle;
  place: Place;
  settings: () => Settings;
}
