// The live panel: one plain ES module without dependencies, used by the anywidget model and by the JupyterLab plug-in.
//
// Three layers, each usable alone:
//   connect(model)    a way to the kernel for commands: control request, then command comm, then the widget's message
//   createFeed(...)   per model: the newest document, log lines by number, commands under way; tells its listeners
//   mount(el, feed)   per display: draws the feed; returns a function that takes everything down again
//
// Whatever comes from the kernel is data: it becomes text nodes, never markup. Links are made of http(s) URLs only.

const PAGE = 500; // lines in a page of a log, as the kernel cuts them
const PAGES_KEPT = 64;
const LINE_HEIGHT = 18;
const REQUEST_SECONDS = 2;
const FIRST_REQUEST_SECONDS = 10;
const RENEW_SECONDS = 30;
const GIVE_UP_SECONDS = 60;
const CONFIRM_SECONDS = 5;
const ALL = "";

// ---------------------------------------------------------------------------------------------------------- helpers

/** An element with attributes (functions are listeners) and children (strings are text). */
function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value !== undefined && value !== null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const SHAPES = {
  ok: "M6 1a5 5 0 1 1 0 10A5 5 0 0 1 6 1Z",
  warning: "M6 .8 11.6 11H.4Z",
  error: "M3.2 1.2 6 4l2.8-2.8 2 2L8 6l2.8 2.8-2 2L6 8l-2.8 2.8-2-2L4 6 1.2 3.2Z",
  pending: "M6 1a5 5 0 1 1 0 10A5 5 0 0 1 6 1Zm0 1.7a3.3 3.3 0 1 0 0 6.6 3.3 3.3 0 0 0 0-6.6Z",
  in_progress: "M6 1a5 5 0 0 1 5 5H9.3A3.3 3.3 0 0 0 6 2.7 3.3 3.3 0 0 0 2.7 6 3.3 3.3 0 0 0 6 9.3V11A5 5 0 0 1 6 1Z",
  none: "M2 5h8v2H2Z",
  trigger: "M10.9 1v3.9H7l1.5-1.5A3.6 3.6 0 1 0 9.6 6.6h1.3A5 5 0 1 1 9.4 2.5Z",
  stop: "M2.2 2.2h7.6v7.6H2.2Z",
  log: "M1 2h10v1.4H1Zm0 3.3h7v1.4H1Zm0 3.3h9V10H1Z",
};

function icon(shape) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  svg.setAttribute("viewBox", "0 0 12 12");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", SHAPES[shape] ?? SHAPES.none);
  svg.append(path);
  return svg;
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function setAttribute(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/** `6 ms`, `1.2 s`, `12 s`, `3 m`, `2 h`, `4 d`. */
export function duration(seconds) {
  if (seconds < 0.9995) return `${Math.max(Math.round(seconds * 1000), 0)} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} m`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

const age = (seconds) => (seconds < 1 ? "now" : duration(Math.floor(Math.max(seconds, 1))).replace(".0", ""));

const clockTime = (seconds) => new Date(seconds * 1000).toTimeString().slice(0, 8);

function safeUrl(url) {
  try {
    const parsed = new URL(url);
    return ["http:", "https:"].includes(parsed.protocol) ? parsed.href : null;
  } catch {
    return null;
  }
}

/** `a1b2…`; crypto.randomUUID exists on https and localhost only. */
function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The status a row is drawn in: the update's when it says something, otherwise the runtime's. */
export function overall(row) {
  if (row.disabled) return "disabled";
  if (["error", "warning", "in_progress", "pending"].includes(row.update.status)) return row.update.status;
  return ["none", "not_applicable"].includes(row.runtime.status) ? row.update.status : row.runtime.status;
}

function oncePerFrame(draw) {
  let frame = 0;
  const request = () => {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      draw();
    });
  };
  request.cancel = () => cancelAnimationFrame(frame);
  return request;
}

// ---------------------------------------------------------------------------------------------------- way to kernel

/** Commands to the kernel of an anywidget model. `send` resolves to the kernel's reply, or null where none comes. */
export function connect(model) {
  const kernel = () => model.widget_manager?.kernel ?? null;
  let control = "untried"; // then "works" or "silent"
  let comm = null;

  const request = (connection, content) => {
    const header = {
      msg_id: newId(), msg_type: "ipytilt_request", username: "", session: connection.clientId,
      date: new Date().toISOString(), version: "5.3",
    };
    const message = { header, parent_header: {}, metadata: {}, content, channel: "control", buffers: [] };
    const future = connection.sendControlMessage(message, true);
    const seconds = control === "untried" ? FIRST_REQUEST_SECONDS : REQUEST_SECONDS;
    return new Promise((resolve) => {
      // A kernel that works but is held up still has the message: it must not be disposed of then.
      const timer = setTimeout(() => {
        if (control !== "works") control = "silent";
        resolve(null);
      }, seconds * 1000);
      future.done.then(
        (reply) => { clearTimeout(timer); control = "works"; resolve(reply.content); },
        () => { clearTimeout(timer); resolve(null); },
      );
    });
  };

  const openComm = async (connection) => {
    const opened = connection.createComm("ipytilt.cmd");
    await connection.info;
    // This promise never settles where subshells are off.
    await Promise.race([opened.subshellStarted, new Promise((resolve) => setTimeout(resolve, 1000))]);
    opened.onClose = () => { comm = null; };
    opened.open({});
    return opened;
  };

  const send = async (command) => {
    const connection = kernel();
    if (connection?.sendControlMessage && control !== "silent") {
      const reply = await request(connection, command);
      if (reply || control === "works") return reply;
    }
    // Both remaining ways carry no reply. The widget's own message may have to wait for the running cell, so the comm
    // goes first; the kernel takes each id once.
    try {
      if (connection?.createComm) (comm ??= await openComm(connection)).send(command);
    } catch {
      comm = null; // no comms on this connection: the message below has to do
    }
    model.send(command);
    return null;
  };

  /** Calls `lost(text)` when the kernel behind the model goes; returns how to stop that. */
  const watch = (lost) => {
    const connection = kernel();
    const onStatus = (_sender, status) => {
      if (["restarting", "autorestarting", "dead", "terminating"].includes(status)) {
        control = "untried";
        comm = null;
        lost(status === "dead" || status === "terminating" ? "The kernel is gone" : "The kernel was restarted");
      }
    };
    connection?.statusChanged?.connect(onStatus);
    return () => connection?.statusChanged?.disconnect(onStatus);
  };
  return { send, watch };
}

// ------------------------------------------------------------------------------------------------------------- feed

/** The lines of one log stream as far as they are here, by absolute number. */
class Stream {
  constructor() {
    this.first = 0;
    this.end = 0;
    this.known = false;
    this.readers = 0;
    this.forget();
  }

  forget() {
    this.pages = new Map();
    this.asked = new Map();
  }

  put(first, lines) {
    lines.forEach((line, index) => {
      const page = Math.floor((first + index) / PAGE);
      if (!this.pages.has(page)) this.pages.set(page, []);
      this.pages.get(page)[(first + index) % PAGE] = line;
    });
    const oldest = [...this.pages.keys()].sort((a, b) => a - b);
    while (oldest.length && (oldest[0] < Math.floor(this.first / PAGE) || oldest.length > PAGES_KEPT)) {
      this.pages.delete(oldest.shift());
    }
  }

  line(number) {
    return this.pages.get(Math.floor(number / PAGE))?.[number % PAGE];
  }
}

/**
 * What one model knows. `state` is {seq, at, document}, `send(command)` returns a promise of a reply or null.
 * Listeners get ("document", names of changed rows), ("logs", null), ("answer", {to, text}), ("notice", text).
 */
export function createFeed({ view, state, send }) {
  const listeners = new Set();
  const streams = new Map();
  const pending = new Map();
  const reader = newId();
  const decoder = new TextDecoder();
  let revision = 0;
  let seq = -1;
  let skew = 0;
  let heard = false;
  let timers = [];

  const emit = (event, detail) => listeners.forEach((listener) => listener(event, detail));

  const feed = { document: null, at: 0, stale: "", pending };

  feed.listen = (listener) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  };

  /** The kernel's clock now, in seconds. */
  feed.now = () => (feed.stale ? feed.at : Date.now() / 1000 - skew);

  const take = (newer, changed) => {
    feed.document = newer.document;
    seq = newer.seq;
    feed.at = newer.at;
    skew = Date.now() / 1000 - newer.at;
    for (const [id, command] of pending) {
      if (id in newer.document.handled) settle(id, command, newer.document.handled[id]);
    }
    emit("document", changed);
  };

  const settle = (id, command, problem) => {
    pending.delete(id);
    if (problem) emit("notice", `${[command.do, command.button ?? command.resource].filter(Boolean).join(" ")}: ${problem}`);
    emit("document", [command.row]);
  };

  const ask = (words) => send({ id: newId(), view, ...words });

  const patched = (document, { fields = {}, rows = {} }) => {
    const merged = { ...document.rows, ...rows };
    for (const [name, row] of Object.entries(rows)) if (row === null) delete merged[name];
    return { ...document, ...fields, rows: merged };
  };

  const decode = (buffer) => {
    const text = decoder.decode(buffer);
    return text === "" ? [] : text.split("\n");
  };

  const receivers = {
    document: (message) => { if (message.seq >= seq) take(message, null); },
    patch: (message) => {
      if (message.seq <= seq) return;
      if (message.seq > seq + 1) { ask({ do: "document" }); return; }
      const document = patched(feed.document, message.patch);
      take({ ...message, document }, Object.keys(message.patch.rows ?? {}));
    },
    logs: (message, buffers) => {
      if (message.seq > seq) ask({ do: "document" }); // a patch was lost on the way
      if (message.revision !== revision) {
        revision = message.revision;
        streams.forEach((stream) => stream.forget());
      }
      for (const [name, [first, end]] of Object.entries(message.heads)) {
        const stream = streams.get(name);
        if (stream) Object.assign(stream, { first, end, known: true });
      }
      message.tails.forEach(([name, first], index) => streams.get(name)?.put(first, decode(buffers[index])));
      emit("logs", null);
    },
    page: (message, buffers) => {
      const stream = streams.get(message.stream);
      stream?.asked.delete(message.page);
      stream?.put(message.first, decode(buffers[0]));
      emit("logs", null);
    },
    answer: (message) => emit("answer", message),
  };

  /** A message of the kernel's pump; `buffers` are DataViews. */
  feed.receive = (message, buffers) => {
    heard = true;
    if (feed.stale) feed.lost("");
    receivers[message.kind]?.(message, buffers);
  };

  /** The state trait changed: it is as good as a document message, but older ones may come late. */
  feed.restore = (newer) => { if (newer?.document && newer.seq > seq) take(newer, null); };

  /** Whatever is shown is no longer the truth, for this reason; "" means it is again. */
  feed.lost = (reason) => {
    feed.stale = reason;
    emit("document", null);
  };

  /** Ask the session for something; it counts as pending until the document lists it as handled. */
  const submit = async (words, row) => {
    const id = newId();
    pending.set(id, { ...words, row, at: Date.now() });
    emit("document", [row]);
    const reply = await send({ id, ...words });
    if (reply && !reply.ok && pending.has(id)) settle(id, pending.get(id), reply.problem);
  };

  feed.command = (what, resource) => submit({ do: what, resource }, resource);

  /** Press a button that stands in this row ("" is the head). */
  feed.press = (button, row, values, confirmed) => submit({ do: "press", button, values, confirmed }, row);

  /** Take over what another session holds. */
  feed.takeOver = () => submit({ do: "takeover" }, "");

  feed.explain = async (path) => {
    const id = newId();
    const reply = await send({ do: "explain", id, view, path });
    if (reply && !reply.ok) emit("answer", { to: id, text: reply.problem });
  };

  const subscribe = () => {
    const wanted = [...streams].filter(([, stream]) => stream.readers > 0).map(([name]) => name);
    ask({ do: "subscribe", reader, streams: wanted.slice(0, 64) });
  };

  /** Keep the end of a log stream coming; returns how to stop that. */
  feed.read = (name) => {
    if (!streams.has(name)) streams.set(name, new Stream());
    const stream = streams.get(name);
    stream.readers += 1;
    if (stream.readers === 1) subscribe();
    return () => {
      stream.readers -= 1;
      if (stream.readers > 0) return;
      streams.delete(name);
      subscribe();
    };
  };

  feed.stream = (name) => streams.get(name);

  /** Fetch the page that holds a line, unless it is on its way. */
  feed.fetch = (name, number) => {
    const stream = streams.get(name);
    const page = Math.floor(number / PAGE);
    if (!stream || Date.now() - (stream.asked.get(page) ?? 0) < 3000 || stream.asked.size > 8) return;
    stream.asked.set(page, Date.now());
    ask({ do: "page", stream: name, page });
  };

  const giveUp = () => {
    for (const [id, command] of pending) {
      if (Date.now() - command.at > GIVE_UP_SECONDS * 1000) settle(id, command, "no answer from the kernel");
    }
    streams.forEach((stream) => stream.asked.forEach((at, page) => {
      if (Date.now() - at > 10_000) stream.asked.delete(page);
    }));
  };

  feed.open = () => {
    ask({ do: "document" }).then((reply) => { if (reply && !reply.ok) feed.lost(reply.problem.split("\n", 1)[0]); });
    timers = [
      setInterval(giveUp, 5000),
      setInterval(() => streams.size && subscribe(), RENEW_SECONDS * 1000),
      setTimeout(() => heard || feed.lost("No answer from the kernel"), FIRST_REQUEST_SECONDS * 1000 + 2000),
    ];
  };

  feed.close = () => {
    timers.forEach((timer) => clearInterval(timer));
    listeners.clear();
  };

  take({ seq: -1, at: Date.now() / 1000, document: { rows: {}, order: [], buttons: [], claims: [], handled: {}, engine: {}, tiltfile: {} } }, null);
  feed.restore(state);
  return feed;
}

// -------------------------------------------------------------------------------------------------------- resources

/** A piece of text with an age beside it that goes on by itself. */
class Aged {
  constructor(name) {
    this.words = h("span", { class: "it-words" });
    this.age = h("span", { class: "it-age" });
    this.element = h("span", { class: `it-cell it-aged it-${name}` }, this.words, this.age);
    this.since = null;
  }

  show(text, since, status) {
    this.since = text ? since : null;
    setText(this.words, text);
    setAttribute(this.element, "data-status", status);
    setAttribute(this.element, "title", since ? `${text}, since ${clockTime(since)}` : text);
  }

  tick(now) {
    setText(this.age, this.since === null ? "" : age(now - this.since));
  }
}

class ActionButton {
  constructor(shape, label, act) {
    this.label = label;
    this.possible = true;
    this.element = h("button", { class: `it-action it-${shape}`, type: "button", click: () => this.possible && act() }, icon(shape));
  }

  // Not `disabled`: the tooltip that says why must be reachable, with the keyboard too.
  show(possible, tip, busy) {
    this.possible = possible && !busy;
    setAttribute(this.element, "aria-disabled", this.possible ? null : "true");
    setAttribute(this.element, "aria-busy", busy ? "true" : null);
    setAttribute(this.element, "title", busy ? `${this.label}: sent to the kernel` : tip);
    setAttribute(this.element, "aria-label", busy ? `${this.label}: sent` : `${this.label}: ${tip}`);
  }
}

/** Runs `act` when it is clicked; where a confirmation is wanted, only at a second click within some seconds. */
class AskingButton {
  constructor(attributes, act) {
    this.act = act;
    this.possible = true;
    this.words = h("span", { "aria-live": "polite" });
    this.element = h("button", { class: "it-button it-press", ...attributes, blur: () => this.disarm() }, this.words);
  }

  show(text, possible, confirm) {
    Object.assign(this, { text, possible, confirm });
    if (!possible) this.disarm();
    setAttribute(this.element, "aria-disabled", possible ? null : "true");
    setText(this.words, this.armed ? "Confirm?" : text);
  }

  click() {
    if (!this.possible) return;
    if (this.confirm && !this.armed) {
      this.armed = setTimeout(() => this.disarm(), CONFIRM_SECONDS * 1000);
      setAttribute(this.element, "data-armed", "true");
      setText(this.words, "Confirm?");
      return;
    }
    this.disarm();
    this.act();
  }

  disarm() {
    clearTimeout(this.armed);
    this.armed = null;
    setAttribute(this.element, "data-armed", null);
    setText(this.words, this.text);
  }
}

/** A labelled field for an input of a button; `value()` is what to send, null for the default. */
function inputField({ name, kind, label, default: preset, choices, placeholder }) {
  const field = kind === "choice"
    ? h("select", { name }, ...choices.map((choice) => h("option", { value: choice }, choice)))
    : h("input", { name, type: kind === "bool" ? "checkbox" : "text", placeholder: placeholder || null, spellcheck: "false" });
  if (kind === "bool") field.checked = preset === "true";
  else field.value = preset;
  const value = () => {
    const given = kind === "bool" ? String(field.checked) : field.value;
    return given === preset ? null : given;
  };
  const words = h("span", {}, label);
  return { name, value, element: h("label", { class: "it-field" }, ...(kind === "bool" ? [field, words] : [words, field])) };
}

/** A button of the Tiltfile, and the form that opens for its inputs. What was typed stays for the next time. */
class Press {
  constructor(feed, row, name) {
    Object.assign(this, { feed, row, name });
    this.button = new AskingButton({ type: "button", click: () => this.button.click() }, () => this.hasInputs ? this.toggle() : this.send());
    this.submit = new AskingButton({ type: "submit" }, () => this.send());
    const cancel = h("button", { class: "it-button", type: "button", click: () => this.toggle() }, "Cancel");
    this.title = h("legend");
    this.inputs = h("div", { class: "it-fields" });
    const onSubmit = (event) => {
      event.preventDefault();
      this.submit.click();
    };
    const onKey = (event) => {
      event.stopPropagation(); // JupyterLab's shortcuts must not see what is typed here
      if (event.key === "Escape") this.toggle();
    };
    this.form = h("form", { class: "it-form", hidden: "", submit: onSubmit, keydown: onKey }, h("fieldset", {}, this.title, this.inputs, this.submit.element, cancel));
    this.problem = h("div", { class: "it-press-problem", role: "status" });
  }

  show(view) {
    const { feed, button } = this;
    const sent = [...feed.pending.values()].some((command) => command.button === this.name);
    const possible = !feed.stale && !view.disabled && !sent;
    this.hasInputs = view.inputs.length > 0;
    this.showInputs(view);
    button.show(view.text, possible, view.confirm && !this.hasInputs);
    this.submit.show("Run", possible, view.confirm);
    const running = view.running ? "It runs: another press stops it and starts anew" : `Press ${this.name}`;
    setAttribute(button.element, "title", feed.stale || (view.disabled ? "Disabled in the Tiltfile" : sent ? "Sent to the kernel" : running));
    setAttribute(button.element, "aria-expanded", this.hasInputs ? String(!this.form.hidden) : null);
    setAttribute(button.element, "aria-busy", sent ? "true" : null);
    const status = view.running ? "in_progress" : view.problem ? "error" : "";
    if ((button.element.dataset.status ?? "") !== status) {
      button.element.querySelector("svg")?.remove();
      if (status) button.element.prepend(icon(status));
      setAttribute(button.element, "data-status", status || null);
    }
    setText(this.problem, view.problem && !view.running ? `${view.text}: ${view.problem}` : "");
  }

  showInputs({ text, inputs, disabled }) {
    const key = JSON.stringify(inputs);
    setText(this.title, text);
    if (this.key !== key) {
      this.key = key;
      this.fields = inputs.map(inputField);
      this.inputs.replaceChildren(...this.fields.map((field) => field.element));
    }
    if (disabled || !inputs.length) this.form.hidden = true;
  }

  toggle() {
    this.form.hidden = !this.form.hidden;
    setAttribute(this.button.element, "aria-expanded", String(!this.form.hidden));
    (this.form.hidden ? this.button.element : this.form.querySelector("input, select")).focus();
  }

  send() {
    if (!this.form.hidden) this.toggle();
    const given = this.fields.map(({ name, value }) => [name, value()]).filter(([, value]) => value !== null);
    this.feed.press(this.name, this.row, Object.fromEntries(given), true);
  }
}

/** The Tiltfile's buttons of a row, or of the head (""). */
class Presses {
  constructor(feed, row) {
    this.feed = feed;
    this.row = row;
    this.all = new Map();
    this.bar = h("div", { class: "it-pressbar" });
    this.below = h("div");
    this.element = h("div", { class: "it-presses", role: "group", "aria-label": row ? `Buttons of ${row}` : "Buttons" }, this.bar, this.below);
  }

  show(views) {
    const names = JSON.stringify(views.map(({ name }) => name));
    if (this.names !== names) {
      this.names = names;
      const all = views.map(({ name }) => [name, this.all.get(name) ?? new Press(this.feed, this.row, name)]);
      this.all = new Map(all);
      this.bar.replaceChildren(...all.map(([, press]) => press.button.element));
      this.below.replaceChildren(...all.flatMap(([, press]) => [press.form, press.problem]));
    }
    views.forEach((view) => this.all.get(view.name).show(view));
    this.element.hidden = views.length === 0;
  }
}

/** One resource: a line of columns, a second line when something is to be said, details when opened. */
class ResourceRow {
  constructor(name, feed, showLog) {
    this.name = name;
    this.feed = feed;
    this.open = false;
    this.dot = h("span", { class: "it-dot" });
    this.label = h("button", { class: "it-name", type: "button", "aria-expanded": "false", click: () => this.toggle() }, name);
    this.kind = h("span", { class: "it-kind" });
    this.update = new Aged("update");
    this.runtime = new Aged("runtime");
    this.cause = h("bdi");
    this.causes = h("span", { class: "it-cell it-cause" }, this.cause);
    this.links = h("span", { class: "it-cell it-links" });
    this.trigger = new ActionButton("trigger", `Trigger ${name}`, () => feed.command("trigger", name));
    this.stop = new ActionButton("stop", `Stop ${name}`, () => feed.command("stop", name));
    const log = h("button", { class: "it-action it-log", type: "button", title: "Show the log", "aria-label": `Log of ${name}`, click: () => showLog(name) }, icon("log"));
    const actions = h("span", { class: "it-actions" }, this.trigger.element, this.stop.element, log);
    this.note = new Aged("note");
    this.presses = new Presses(feed, name);
    this.details = h("div", { class: "it-details", hidden: "" });
    const title = h("span", { class: "it-cell it-title" }, this.label, this.kind);
    const line = h("div", { class: "it-line" }, this.dot, title, this.update.element, this.causes, this.runtime.element, this.links, actions);
    this.element = h("li", { class: "it-row" }, line, this.note.element, this.presses.element, this.details);
  }

  show(row) {
    const status = overall(row);
    this.row = row;
    setAttribute(this.element, "data-status", status);
    if (this.dot.dataset.status !== status) {
      this.dot.dataset.status = status;
      this.dot.replaceChildren(icon(status));
    }
    setText(this.kind, row.disabled ? "disabled" : row.trigger_mode === "manual" ? "manual" : row.kind);
    this.showUpdate(row);
    this.runtime.show(row.runtime.text, row.runtime.since, row.runtime.status);
    this.showLinks(row.endpoints);
    this.showNote(row);
    this.showButtons();
    this.presses.show(row.buttons);
    if (this.open) this.showDetails();
    this.tick(this.feed.now());
  }

  /** The update column says how the last one was done when it went well; beside it stands what caused it. */
  showUpdate({ update, last, pending }) {
    const took = last && last.took !== null ? duration(last.took) : "";
    const done = update.status === "ok" && last?.how;
    const busy = update.status === "in_progress" || update.status === "pending";
    this.update.show(done ? `${last.how} ${took}` : update.text, update.since, update.status);
    setAttribute(this.update.element, "data-how", done ? last.how : null);
    const files = busy ? pending : last?.files ?? [];
    setText(this.cause, files.length ? files[0] + (files.length > 1 ? ` +${files.length - 1}` : "") : busy ? "" : last?.cause ?? "");
    const told = last && [`${last.how} ${took}`, last.cause, ...last.files.slice(0, 12), last.rule && `by the rule at ${last.rule}`];
    setAttribute(this.causes, "title", told ? told.filter(Boolean).join("\n") : null);
  }

  showLinks(endpoints) {
    const key = JSON.stringify(endpoints);
    if (this.linksKey === key) return;
    this.linksKey = key;
    this.links.replaceChildren(...endpoints.map(({ url, name, problem }) => {
      const href = safeUrl(url);
      const words = name || url.replace(/^https?:\/\/((localhost|127\.0\.0\.1)(?=:))?/, "").replace(/\/$/, "");
      const more = problem ? { title: `${url}\n${problem}`, class: "it-lost" } : { title: url };
      return href ? h("a", { href, ...more, target: "_blank", rel: "noopener noreferrer" }, words) : h("span", { title: "not a web address" }, words);
    }));
  }

  showNote(row) {
    const { waiting } = row;
    const lost = row.endpoints.find(({ problem }) => problem);
    if (waiting) this.note.show(waiting.text, waiting.since, "waiting");
    else if (row.error) this.note.show(row.error.trim().split("\n", 1)[0], null, "error");
    else if (row.pending.length) this.note.show(`${row.pending.length} changed, not applied: ${row.pending.slice(0, 3).join(", ")}`, null, "pending");
    else if (lost) this.note.show(`${lost.url} ${lost.problem}`, null, "pending");
    else this.note.show("", null, null);
    this.note.element.hidden = !this.note.words.textContent;
  }

  showButtons() {
    const { row } = this;
    const busy = (what) => [...this.feed.pending.values()].some((command) => command.do === what && command.resource === this.name);
    const live = !this.feed.stale;
    this.trigger.show(live && row.can_trigger, live ? row.trigger_tip : this.feed.stale, busy("trigger"));
    this.stop.show(live && row.can_stop, live ? row.stop_tip : this.feed.stale, busy("stop"));
    setAttribute(this.trigger.element, "data-wanted", row.trigger_mode === "manual" && row.pending.length ? "true" : null);
  }

  toggle() {
    this.open = !this.open;
    setAttribute(this.label, "aria-expanded", String(this.open));
    this.details.hidden = !this.open;
    if (this.open) this.showDetails();
  }

  showDetails() {
    const { row } = this;
    const { last } = row;
    const facts = [
      ["Waits for", row.waiting && [row.waiting.text, row.waiting.on.length ? `on ${row.waiting.on.join(", ")}` : ""].filter(Boolean).join(" · ")],
      ["Pending", row.pending.slice(0, 50).join("\n")],
      ["Last update", last && [last.how, last.took !== null ? duration(last.took) : "", last.at ? `at ${clockTime(last.at)}` : ""].filter(Boolean).join(" ")],
      ["Cause", last?.cause],
      ["Files", last?.files.slice(0, 50).join("\n")],
      ["Rule", last?.rule],
      ["Kind", [row.kind, `updates ${row.trigger_mode === "auto" ? "by itself" : "when triggered"}`].join(", ")],
      ["Labels", row.labels.join(", ")],
      ["Pod", row.pod && [row.pod.name, row.pod.status, row.pod.restarts ? `restarts: ${row.pod.restarts}` : ""].filter(Boolean).join(" · ")],
      ["Ports", row.endpoints.filter(({ problem }) => problem).map(({ url, problem }) => `${url} ${problem}`).join("\n")],
    ];
    const list = h("dl", {}, ...facts.filter(([, text]) => text).flatMap(([term, text]) => [h("dt", {}, term), h("dd", {}, text)]));
    const what = row.disabled ? "enable" : "disable";
    const toggle = h("button", { class: "it-button", type: "button", click: () => this.feed.command(what, this.name) }, row.disabled ? "Enable" : "Disable");
    const error = row.error || last?.error;
    this.details.replaceChildren(...[error ? h("pre", { class: "it-error" }, error) : null, list, toggle].filter(Boolean));
  }

  tick(now) {
    [this.update, this.runtime, this.note].forEach((part) => part.tick(now));
  }
}

/** The rows in their order, touched only where something changed. */
function resourceList(feed, showLog) {
  const rows = new Map();
  const list = h("ul", { class: "it-rows", "aria-label": "Resources" });
  const heads = ["", "Resource", "Update", "Cause", "Runtime", "Links", ""].map((head) => h("span", { class: "it-cell" }, head));
  const empty = h("div", { class: "it-empty" }, "No resources yet: a %%tiltfile cell defines some.");
  const show = (changed) => {
    const { order, rows: values } = feed.document;
    for (const name of changed ?? order) if (rows.has(name) && values[name]) rows.get(name).show(values[name]);
    for (const [name, row] of rows) {
      if (!(name in values)) { row.element.remove(); rows.delete(name); }
    }
    order.forEach((name, index) => {
      if (!rows.has(name)) {
        rows.set(name, new ResourceRow(name, feed, showLog));
        rows.get(name).show(values[name]);
      }
      const { element } = rows.get(name);
      if (list.children[index] !== element) list.insertBefore(element, list.children[index] ?? null);
    });
    empty.hidden = order.length > 0;
  };
  const tick = (now) => rows.forEach((row) => row.tick(now));
  const element = h("div", { class: "it-resources" }, h("div", { class: "it-line it-heads", "aria-hidden": "true" }, ...heads), list, empty);
  return { element, show, tick };
}

// ------------------------------------------------------------------------------------------------------------- logs

const LEVELS = [["", "All levels"], ["w", "Warnings"], ["e", "Errors"]];

/** A matcher for a filter text: words as they stand, or /a regular expression/. */
function matcher(query) {
  const pattern = /^\/(.+)\/$/.exec(query)?.[1] ?? query.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  try {
    return new RegExp(pattern, "i");
  } catch {
    return /$^/;
  }
}

const textOf = (raw) => raw.slice(raw.indexOf("\t", raw.indexOf("\t") + 1) + 1);

/** A virtual list over one log stream at a time: some thirty elements, however long the log is. */
class LogView {
  constructor(feed) {
    this.feed = feed;
    this.name = ALL;
    this.level = "";
    this.query = "";
    this.follow = true;
    this.first = 0;
    this.pool = [];
    this.tabs = h("div", { class: "it-tabs", role: "tablist", "aria-label": "Log of" });
    this.tabs.addEventListener("keydown", (event) => this.onTabKey(event));
    const levels = h("select", { "aria-label": "Level", change: (event) => this.filter({ level: event.target.value }) }, ...LEVELS.map(([value, label]) => h("option", { value }, label)));
    const search = h("input", { type: "search", placeholder: "Filter, or /regex/", "aria-label": "Filter log lines", input: (event) => this.filter({ query: event.target.value }) });
    this.end = h("button", { class: "it-button it-end", type: "button", hidden: "", click: () => this.toEnd() }, "↓ Newest");
    this.rows = h("div", { class: "it-lines" });
    this.space = h("div", { class: "it-space" }, this.rows);
    this.scroller = h("div", { class: "it-scroller", tabindex: "0", role: "log", "aria-live": "off", "aria-label": "Log lines" }, this.space);
    this.empty = h("div", { class: "it-empty" });
    this.draw = oncePerFrame(() => this.drawNow());
    this.scroller.addEventListener("scroll", () => this.onScroll(), { passive: true });
    const controls = h("div", { class: "it-controls" }, levels, search);
    const body = h("div", { class: "it-logbody" }, this.scroller, this.empty, this.end);
    this.element = h("section", { class: "it-logs", "aria-label": "Logs" }, h("div", { class: "it-logbar" }, this.tabs, controls), body);
    this.resized = new ResizeObserver(() => this.draw());
    this.resized.observe(this.scroller);
    this.seen = new IntersectionObserver((entries) => this.onVisible(entries.at(-1).isIntersecting));
    this.seen.observe(this.element);
  }

  /** Which streams there are. */
  showTabs(order) {
    const names = [ALL, ...order];
    const key = JSON.stringify(names);
    if (this.tabsKey !== key) {
      this.tabsKey = key;
      if (!names.includes(this.name)) this.choose(ALL);
      const longest = Math.min(Math.max(...names.map((name) => name.length)), 16);
      this.element.style.setProperty("--it-who", `${longest}ch`);
      this.tabs.replaceChildren(...names.map((name) => h("button", { class: "it-tab", type: "button", role: "tab", "data-name": name, click: () => this.choose(name) }, name || "All")));
    }
    for (const tab of this.tabs.children) {
      const chosen = tab.dataset.name === this.name;
      setAttribute(tab, "aria-selected", String(chosen));
      setAttribute(tab, "tabindex", chosen ? "0" : "-1");
    }
  }

  onTabKey(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const tabs = [...this.tabs.children];
    const next = tabs[(tabs.findIndex((tab) => tab.dataset.name === this.name) + step + tabs.length) % tabs.length];
    event.preventDefault();
    this.choose(next.dataset.name);
    next.focus();
  }

  choose(name) {
    if (this.name !== name) {
      this.name = name;
      if (this.release) this.onVisible(true);
    }
    this.showTabs(JSON.parse(this.tabsKey ?? '[""]').slice(1));
    this.toEnd();
  }

  filter(change) {
    Object.assign(this, change);
    this.toEnd();
  }

  toEnd() {
    this.follow = true;
    this.draw();
  }

  onVisible(visible) {
    this.release?.();
    this.release = visible ? this.feed.read(this.name) : null;
    this.draw();
  }

  onScroll() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    this.follow = scrollTop + clientHeight >= scrollHeight - LINE_HEIGHT;
    this.draw();
  }

  /** The numbers of the lines to show: all of them as a range, or the matching ones among those that are here. */
  selection(stream) {
    const { first, end } = stream;
    if (!this.level && !this.query) return { count: end - first, at: (index) => first + index };
    const matching = [];
    const wanted = matcher(this.query);
    for (let number = end - 1; number >= first; number -= 1) {
      const raw = stream.line(number);
      if (raw === undefined) {
        this.feed.fetch(this.name, number);
        number -= number % PAGE; // the rest of that page comes with it
      } else if ((!this.level || raw[0] === this.level) && wanted.test(textOf(raw))) matching.push(number);
    }
    matching.reverse();
    return { count: matching.length, at: (index) => matching[index] };
  }

  drawNow() {
    const stream = this.feed.stream(this.name);
    if (!stream) return;
    if (!this.scroller.clientHeight) { // taken out of the page for a moment, as notebooks do
      this.draw();
      return;
    }
    const { count, at } = this.selection(stream);
    const { scroller } = this;
    setAttribute(this.space, "style", `height:${count * LINE_HEIGHT}px`);
    if (this.follow) scroller.scrollTop = scroller.scrollHeight;
    else if (!this.level && !this.query && stream.first > this.first) {
      scroller.scrollTop -= (stream.first - this.first) * LINE_HEIGHT; // what is being read stays where it is
    }
    this.first = stream.first;
    const top = Math.max(Math.floor(scroller.scrollTop / LINE_HEIGHT) - 2, 0);
    const shown = Math.max(Math.min(Math.ceil(scroller.clientHeight / LINE_HEIGHT) + 4, count - top), 0);
    while (this.pool.length < shown) this.pool.push(this.newLine());
    this.pool.forEach((line, index) => this.fill(line, stream, index < shown ? at(top + index) : null));
    this.rows.style.transform = `translateY(${top * LINE_HEIGHT}px)`;
    this.end.hidden = this.follow;
    this.empty.hidden = count > 0;
    setText(this.empty, !stream.known ? "Waiting for the log…" : stream.end > stream.first ? "No line matches" : "No output yet");
  }

  newLine() {
    const parts = ["time", "who", "text"].map((name) => h("span", { class: `it-log-${name}` }));
    const element = h("div", { class: "it-log-line" }, ...parts);
    this.rows.append(element);
    return { element, parts };
  }

  fill({ element, parts }, stream, number) {
    element.hidden = number === null;
    if (number === null) return;
    const raw = stream.line(number);
    if (raw === undefined) this.feed.fetch(this.name, number);
    const tab = raw?.indexOf("\t") ?? 0;
    const second = raw?.indexOf("\t", tab + 1) ?? 0;
    setAttribute(element, "data-level", raw?.[0] ?? "d");
    setText(parts[0], raw === undefined ? "" : clockTime(Number(raw.slice(1, tab))));
    setText(parts[1], raw === undefined || this.name !== ALL ? "" : raw.slice(tab + 1, second));
    setText(parts[2], raw === undefined ? "…" : raw.slice(second + 1));
  }

  close() {
    this.draw.cancel();
    this.resized.disconnect();
    this.seen.disconnect();
    this.release?.();
  }
}

// ------------------------------------------------------------------------------------------------------------ whole

const SUMMARY = [["error", "failing"], ["warning", "with warnings"], ["in_progress", "updating"], ["pending", "pending"], ["ok", "ok"]];

function header(feed) {
  const summary = h("span", { class: "it-summary", role: "status" });
  const engine = h("span", { class: "it-engine" });
  const stale = h("span", { class: "it-stale", role: "status" });
  const presses = new Presses(feed, "");
  const show = () => {
    const { document: doc } = feed;
    const statuses = Object.values(doc.rows).map(overall);
    const counts = SUMMARY.map(([status, words]) => [status, statuses.filter((each) => each === status).length, words]);
    const chips = counts.filter(([, count]) => count).map(([status, count, words]) => h("span", { class: "it-chip", "data-status": status }, icon(status), `${count} ${words}`));
    const key = JSON.stringify(counts);
    if (summary.dataset.key !== key) {
      summary.dataset.key = key;
      summary.replaceChildren(...chips);
    }
    setText(engine, doc.engine.text ?? "");
    setAttribute(engine, "data-ok", String(doc.engine.ok ?? true));
    setAttribute(engine, "title", doc.engine.problem || "The engine that builds and runs containers");
    setText(stale, feed.stale ? `${feed.stale}: this is the state of ${clockTime(feed.at)}` : "");
    presses.show(doc.buttons);
  };
  return { element: h("header", { class: "it-header" }, h("strong", {}, "ipytilt"), summary, stale, engine, presses.element), show };
}

/** What is wrong with the whole: the session itself, other sessions, the Tiltfile, the engine, the last command. */
function banners(feed) {
  const element = h("div", { class: "it-banners" });
  let notice = "";
  const show = () => {
    const { document: doc } = feed;
    const found = [
      ["The session has stopped working", doc.problem],
      ...doc.claims.map((claim) => [claim.taken ? "Taken over" : "Held by another session", claim.text, true]),
      [doc.tiltfile.text || "Tiltfile error", doc.tiltfile.status === "error" ? doc.tiltfile.error : ""],
      ["The engine does not answer", doc.engine.problem],
    ].filter(([, text]) => text);
    const key = JSON.stringify([found, notice]);
    if (element.dataset.key === key) return;
    element.dataset.key = key;
    const takeOver = () => h("button", { class: "it-button", type: "button", title: "The other session stops acting on it", click: () => feed.takeOver() }, "Take over");
    const dismiss = h("button", { class: "it-button", type: "button", "aria-label": "Dismiss", click: () => setNotice("") }, "✕");
    element.replaceChildren(
      ...found.map(([title, text, isClaim]) => h("div", { class: "it-banner", role: "alert" }, h("strong", {}, title), h("pre", {}, text), ...(isClaim ? [takeOver()] : []))),
      ...(notice ? [h("div", { class: "it-banner it-notice", role: "alert" }, h("pre", {}, notice), dismiss)] : []),
    );
  };
  const setNotice = (text) => {
    notice = text;
    show();
  };
  return { element, show, setNotice };
}

function explainBox(feed) {
  const answer = h("pre", { class: "it-answer", hidden: "", "aria-live": "polite" });
  const input = h("input", { type: "text", placeholder: "path of a file, such as api/app.py", "aria-label": "Path", spellcheck: "false" });
  const submit = (event) => {
    event.preventDefault();
    if (!input.value.trim()) return;
    answer.hidden = false;
    setText(answer, "…");
    feed.explain(input.value.trim());
  };
  const button = h("button", { class: "it-button", type: "submit" }, "Explain");
  const form = h("form", { class: "it-explain", submit }, h("span", {}, "What would a change do?"), input, button);
  // JupyterLab's shortcuts must not see what is typed here.
  form.addEventListener("keydown", (event) => event.stopPropagation());
  return { element: h("section", { class: "it-explains", "aria-label": "Explain" }, form, answer), show: (text) => { answer.hidden = false; setText(answer, text); } };
}

/** Draw `feed` into `element`; the returned function takes it down. */
export function mount(element, feed) {
  const head = header(feed);
  const trouble = banners(feed);
  const logs = new LogView(feed);
  const list = resourceList(feed, (name) => { logs.choose(name); logs.element.scrollIntoView({ block: "nearest" }); });
  const explains = explainBox(feed);
  const root = h("div", { class: "ipytilt", "data-lm-suppress-shortcuts": "true" }, head.element, trouble.element, list.element, explains.element, logs.element);
  let changed = new Set();
  let all = true;

  const draw = oncePerFrame(() => {
    root.classList.toggle("it-is-stale", Boolean(feed.stale));
    head.show();
    trouble.show();
    list.show(all ? null : changed);
    logs.showTabs(feed.document.order);
    changed = new Set();
    all = false;
  });
  const unlisten = feed.listen((event, detail) => {
    if (event === "logs") logs.draw();
    else if (event === "answer") explains.show(detail.text);
    else if (event === "notice") trouble.setNotice(detail);
    else {
      if (detail) detail.forEach((name) => changed.add(name));
      else all = true;
      draw();
    }
  });
  const ticker = setInterval(() => list.tick(feed.now()), 1000);
  element.append(root);
  draw();
  return () => {
    unlisten();
    clearInterval(ticker);
    draw.cancel();
    logs.close();
    root.remove();
  };
}

// ------------------------------------------------------------------------------------------------- anywidget's shape

/** Called once per model: its feed lives in between, shared by all displays. */
export default function widget() {
  let feed = null;

  const initialize = ({ model }) => {
    const link = connect(model);
    feed = createFeed({ view: model.get("view"), state: model.get("state"), send: link.send });
    const onState = () => feed.restore(model.get("state"));
    const unwatch = link.watch(feed.lost);
    model.on("msg:custom", feed.receive);
    model.on("change:state", onState);
    feed.open();
    return () => {
      model.off("msg:custom", feed.receive);
      model.off("change:state", onState);
      unwatch();
      feed.close();
    };
  };

  const render = ({ el }) => mount(el, feed);

  return { initialize, render };
}
