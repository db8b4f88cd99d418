/**
 * The plug-in's entry: registers what ipytilt adds to JupyterLab, and does nothing else.
 *
 * Runs in the page. What the side panel shows is made by `panel.ts`.
 */
import { ILayoutRestorer, JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';

import { Panel } from './panel';

const plugin: JupyterFrontEndPlugin<void> = {
  id: 'ipytilt-labextension:plugin',
  description: 'A side panel for the resources that ipytilt keeps up to date.',
  autoStart: true,
  optional: [ILayoutRestorer],
  activate: (app: JupyterFrontEnd, restorer: ILayoutRestorer | null): void => {
    const panel = new Panel();
    app.shell.add(panel, 'left', { rank: 900 });
    restorer?.add(panel, panel.id);
  }
};

export default plugin;
