/* What the viewers of maps share: unpacking, colours, and the tools above a map. */
const maps = (() => {
  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const unpack = async (text) => {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  };
  const parts = new Map();
  const partOf = (key) => {
    if (!parts.has(key)) parts.set(key, unpack(document.getElementById(`part-${key}`).value));
    return parts.get(key);
  };
  const load = async (figure) => ({
    ...JSON.parse(figure.dataset.map), values: await unpack(figure.dataset.values),
    caption: figure.querySelector("figcaption").textContent,
  });

  /* Values and colours. */
  const valueOf = (map, byte) => map.span[0] + (byte - 1) / 254 * (map.span[1] - map.span[0]);
  const channels = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  const colourAt = (colours, share) => {
    const place = Math.min(Math.max(share, 0), 1) * (colours.length - 1);
    const [first, second] = [Math.floor(place), Math.ceil(place)].map((at) => channels(colours[at]));
    return first.map((channel, at) => channel + (second[at] - channel) * (place % 1));
  };
  const tableOf = (map, threshold) => Array.from({ length: 256 }, (_, byte) => {
    const value = valueOf(map, byte);
    if (!byte || Math.abs(value) < threshold) return [0, 0, 0, 0];
    const share = map.kind === "signed" ? (value / map.limit + 1) / 2 : value / map.limit;
    return [...colourAt(map.colours, share), 225];
  });
  const rounded = (value) => String(Number(value.toPrecision(3))).replace("-", "\u2212");
  const sayValue = ({ map, threshold }, byte) => {
    if (map.kind === "mask") return byte ? "selected" : "not selected";
    if (!byte) return "no value";
    const value = valueOf(map, byte);
    const isEnd = byte === 255 || (byte === 1 && map.span[0] < 0);
    return rounded(value) + (map.clipped && isEnd ? " or beyond" : "")
      + (Math.abs(value) < threshold ? " (below the threshold)" : "");
  };

  /* Tools. */
  const showScale = (bar, { map }) => {
    bar.hidden = map.kind === "mask";
    const low = map.kind === "signed" ? -map.limit : 0;
    bar.querySelector("i").style.background = `linear-gradient(to right, ${map.colours.join(", ")})`;
    bar.firstChild.textContent = rounded(low);
    bar.lastChild.textContent = rounded(map.limit);
  };
  const button = (textContent, press) => {
    const element = make("button", { type: "button", textContent });
    element.addEventListener("click", press);
    return element;
  };
  const chooser = (own, choose) => {
    const select = make("select");
    select.setAttribute("aria-label", "Map");
    select.append(...own.map((figure, at) =>
      make("option", { value: at, textContent: JSON.parse(figure.dataset.map).title })));
    select.addEventListener("change", () => choose(own[select.value]));
    return select;
  };
  const figuresButton = (own) => {
    const element = button("As figures", () => {
      const on = element.getAttribute("aria-pressed") !== "true";
      element.setAttribute("aria-pressed", String(on));
      own.forEach((figure) => figure.classList.toggle("explored", !on));
    });
    element.setAttribute("aria-pressed", "false");
    return element;
  };

  /* A viewer in place of the figures of one section. A kind of viewer has `name` (class of the element), `load` (parts of a map that
     come from elsewhere), `build` (returns what is drawn on, more tools, and how to draw), `begin` (a map is there), `toPeak`, `say` and `hint`. */
  const addViewer = async (own, kind) => {
    const viewer = { map: null, threshold: 0, table: [] };
    const line = make("p", { className: "said" });
    line.setAttribute("role", "status");
    const caption = make("figcaption");
    const update = () => {
      body.draw();
      line.textContent = kind.say(viewer);
    };
    const body = kind.build(viewer, update);
    const slider = make("input", { type: "range", min: 0, max: 1, step: 0.005 });
    const label = make("label", {}, "Threshold ", slider, make("output"));
    const setThreshold = (value) => {
      viewer.threshold = value;
      viewer.table = tableOf(viewer.map, value);
      label.lastChild.textContent = rounded(value);
    };
    slider.addEventListener("input", () => { setThreshold(slider.value * viewer.map.limit); update(); });
    const scale = make("span", { className: "scale" }, make("span"), make("i"), make("span"));
    const peak = button("Largest value", () => { kind.toPeak(viewer); update(); });
    let latest = 0;
    const choose = async (figure) => {
      const turn = ++latest;
      const before = viewer.map;
      const map = await load(figure);
      await kind.load(map);
      if (turn !== latest) { return; }
      viewer.map = map;
      kind.begin(viewer, before);
      slider.max = Math.max(1, map.threshold / map.limit);
      slider.value = map.threshold / map.limit;
      label.hidden = peak.hidden = map.kind === "mask";
      setThreshold(map.threshold);
      showScale(scale, viewer);
      caption.textContent = `${map.caption} ${kind.hint(map)}`;
      update();
    };
    const tools = make("div", { className: "tools" },
      ...(own.length > 1 ? [chooser(own, choose)] : []), label, scale, peak, ...body.tools, figuresButton(own));
    /* The figures stay until the first map is unpacked. */
    await choose(own[0]);
    own[0].before(make("figure", { className: `viewer ${kind.name}` }, tools, body.element, line, caption));
    own.forEach((figure) => figure.classList.add("explored"));
  };
  const addViewers = (kind) => {
    const figures = [...document.querySelectorAll(`figure[data-viewer=${kind.name}]`)];
    if (!("DecompressionStream" in window)) return;
    for (const section of new Set(figures.map((figure) => figure.closest("section")))) {
      addViewer(figures.filter((figure) => section.contains(figure)), kind).catch((error) => {
        window.console.warn("The figures stay:", error);
      });
    }
  };
  return { make, button, partOf, sayValue, addViewers };
})();
