/** The place of the panel in the left side bar; what is in it is loaded when it is first looked at. */
import type { TranslationBundle } from '@jupyterlab/translation';
import type { Message } from '@lumino/messaging';
import { PanelLayout, Widget } from '@lumino/widgets';

import type { Context } from './context';
import { workspaceIcon } from './icons';
import { PANEL_ID } from './tokens';

export class Sidebar extends Widget {
  constructor(
    trans: TranslationBundle,
    private readonly context: () => Promise<Context>
  ) {
    super();
    this.id = PANEL_ID;
    this.addClass('vessl-Sidebar');
    this.title.icon = workspaceIcon;
    this.title.caption = trans.__('Workspace: credits, ports and storage');
    this.node.tabIndex = -1;
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', trans.__('Workspace'));
    this.layout = new PanelLayout();
  }

  protected override onBeforeShow(message: Message): void {
    super.onBeforeShow(message);
    this._load();
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    if (this.isVisible) {
      this._load();
    }
  }

  /** The keyboard goes to the panel when a command or a click brings it up. */
  protected override onActivateRequest(message: Message): void {
    super.onActivateRequest(message);
    this.node.focus();
  }

  private _load(): void {
    if (this._isLoaded) {
      return;
    }
    this._isLoaded = true;
    Promise.all([this.context(), import('./panel/panel')])
      .then(([context, { Panel }]) => (this.layout as PanelLayout).addWidget(new Panel(context)))
      .catch(() => {
        this._isLoaded = false;
      });
  }

  private _isLoaded = false;
}
