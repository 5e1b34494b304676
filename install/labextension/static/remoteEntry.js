// Highlights the declarations in cells of `%%sweep`, `%%plan` and `%%scaling`. JupyterLab takes each cell of a Rust
// kernel for Rust, and then paints the lines after `question "…?"` as one string.
//
// JupyterLab loads this file as a module of webpack's module federation, so it needs no build. The modules of
// CodeMirror and JupyterLab are those that the page already has.
(() => {
  const NAME = "tunebook-magics";
  const DECLARES = /^\s*%%(sweep|plan|scaling)\b/;
  const KEYWORDS = new Set([
    "workload", "command", "scientific", "nuisance", "fixed", "minimize", "maximize", "question", "notes", "round",
    "preset", "configuration", "configurations", "when", "in",
  ]);
  let scope;

  // A module that the page shares. If there are several versions, that which is in use.
  async function shared(name) {
    const versions = Object.values(scope[name] || {});
    const found = versions.find((version) => version.loaded) || versions[0];
    if (!found) throw new Error(`JupyterLab does not share ${name}`);
    return (await found.get())();
  }

  // One token of a line, as CodeMirror's stream parsers return it: the name of its style, or null.
  function token(stream, state) {
    const isFirst = stream.sol() || state.first;
    if (stream.eatSpace()) {
      state.first = isFirst;
      return null;
    }
    state.first = false;
    if (stream.match(/^%%?\w+/)) return "meta";
    if (stream.peek() === "#") {
      stream.skipToEnd();
      return "comment";
    }
    // A string ends with its line at the latest.
    if (stream.match(/^"(\\.|[^"\\])*"?/) || stream.match(/^'(\\.|[^'\\])*'?/)) return "string";
    if (stream.match(/^--[\w-]+/)) return "attribute";
    if (stream.match(/^[-+]?(\d[\d_]*\.?\d*|\.\d+)([eE][-+]?\d+)?(?![\w.])/)) return "number";
    const word = stream.match(/^[A-Za-z_][\w./-]*/);
    if (word) {
      if (KEYWORDS.has(word[0]) && (isFirst || word[0] === "in")) {
        // After the condition of `when`, a line goes on with another keyword.
        state.first = word[0] === "when";
        return "keyword";
      }
      if (/^(true|false|True|False)$/.test(word[0])) return "atom";
      return stream.match(/^\s*\(/, false) ? "variableName.function" : null;
    }
    if (stream.match(/^(==|[~=])/)) return "operator";
    // What follows the colon of `when …:` is a declaration.
    if (stream.next() === ":") state.first = true;
    return null;
  }

  async function extension() {
    const [lab, state, view, language] = await Promise.all(
      ["@jupyterlab/codemirror", "@codemirror/state", "@codemirror/view", "@codemirror/language"].map(shared)
    );
    const declarations = state.Prec.highest(
      language.StreamLanguage.define({ name: NAME, startState: () => ({ first: true }), token }).extension
    );

    // Uses the language of declarations while the cell is one of a Rust kernel that begins with such a magic.
    function highlighting(model) {
      const compartment = new state.Compartment();
      const isWanted = (document) => /rust/.test(model.mimeType) && DECLARES.test(document.sliceString(0, 200));
      const watcher = view.ViewPlugin.define((editor) => {
        let ended = false;
        // Not at once: an editor that is being updated takes no other change.
        const look = () => Promise.resolve().then(() => {
          if (ended) return;
          const wanted = isWanted(editor.state.doc), is = compartment.get(editor.state) === declarations;
          if (wanted !== is) editor.dispatch({ effects: compartment.reconfigure(wanted ? declarations : []) });
        });
        model.mimeTypeChanged.connect(look);
        look();
        return {
          update: (update) => { if (update.docChanged) look(); },
          destroy: () => { ended = true; model.mimeTypeChanged.disconnect(look); },
        };
      });
      return [compartment.of([]), watcher];
    }

    return {
      id: `${NAME}:highlighting`,
      description: "Highlights the declarations of Tunebook's magics.",
      autoStart: true,
      requires: [lab.IEditorExtensionRegistry],
      activate: (_, registry) => registry.addExtension({
        name: NAME,
        factory: ({ model }) => ({ instance: () => highlighting(model), reconfigure: () => null }),
      }),
    };
  }

  window._JUPYTERLAB = window._JUPYTERLAB || {};
  window._JUPYTERLAB[NAME] = {
    init: (shareScope) => { scope = shareScope; },
    get: async () => {
      const plugin = await extension();
      return () => ({ __esModule: true, default: plugin });
    },
  };
})();
