/* Slice viewer: three planes through a cross-hair in place of the figures of maps, which are printed. */
(() => {
  const figures = [...document.querySelectorAll("figure[data-map]")];
  if (!figures.length || !("DecompressionStream" in window)) return;
  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const PLANES = [
    { name: "Sagittal", axis: 0, across: 1, up: 2, sides: ["P", "A"] },
    { name: "Coronal", axis: 1, across: 0, up: 2, sides: ["L", "R"] },
    { name: "Axial", axis: 2, across: 0, up: 1, sides: ["L", "R"] },
  ];
  const KEYS = { ArrowLeft: ["across", -1], ArrowRight: ["across", 1], ArrowDown: ["up", -1],
    ArrowUp: ["up", 1], PageDown: ["axis", -1], PageUp: ["axis", 1] };
  const PIXELS = 420;

  /* Volumes. */
  const unpack = async (text) => {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  };
  const grounds = new Map();
  const groundOf = (key) => {
    if (!grounds.has(key)) grounds.set(key, unpack(document.getElementById(`ground-${key}`).value));
    return grounds.get(key);
  };
  const sizesOf = (map) => [0, 1, 2].map((column) =>
    map.shape[column] * Math.hypot(...map.affine.map((row) => row[column])));
  const valueOf = (map, byte) => map.span[0] + (byte - 1) / 254 * (map.span[1] - map.span[0]);
  const load = async (figure) => {
    const map = JSON.parse(figure.dataset.map);
    map.voxels = await unpack(figure.dataset.voxels);
    map.grey = map.ground ? await groundOf(map.ground) : null;
    map.caption = figure.querySelector("figcaption").textContent;
    return map;
  };

  /* Colours. */
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

  /* One plane of a volume, one pixel per voxel. */
  const cut = (voxels, shape, plane, number, colour) => {
    const [width, height] = [shape[plane.across], shape[plane.up]];
    const steps = [1, shape[0], shape[0] * shape[1]];
    const canvas = make("canvas", { width, height });
    const image = new ImageData(width, height);
    for (let row = 0; row < height; row += 1) {
      for (let column = 0; column < width; column += 1) {
        const index = number * steps[plane.axis] + column * steps[plane.across] + row * steps[plane.up];
        image.data.set(colour(voxels[index]), 4 * ((height - 1 - row) * width + column));
      }
    }
    canvas.getContext("2d").putImageData(image, 0, 0);
    return canvas;
  };
  const greys = Array.from({ length: 256 }, (_, byte) => [byte, byte, byte, 255]);
  const drawPlane = (canvas, plane, viewer) => {
    const { map, at, table } = viewer;
    const context = canvas.getContext("2d");
    const { width, height } = canvas;
    const share = (axis) => (at[axis] + 0.5) / map.shape[axis];
    context.fillStyle = "#000";
    context.fillRect(0, 0, width, height);
    if (map.grey) {
      const number = Math.floor(share(plane.axis) * map.groundShape[plane.axis]);
      context.imageSmoothingEnabled = true;
      context.drawImage(cut(map.grey, map.groundShape, plane, number, (byte) => greys[byte]),
        0, 0, width, height);
    }
    context.imageSmoothingEnabled = false;
    context.drawImage(cut(map.voxels, map.shape, plane, at[plane.axis], (byte) => table[byte]),
      0, 0, width, height);
    const [x, y] = [share(plane.across) * width, (1 - share(plane.up)) * height];
    context.strokeStyle = "#7bd88f";
    context.lineWidth = 1.5;
    context.beginPath();
    for (const [gapX, gapY] of [[10, 0], [-10, 0], [0, 10], [0, -10]]) {
      context.moveTo(x + gapX, y + gapY);
      context.lineTo(gapX ? (gapX > 0 ? width : 0) : x, gapY ? (gapY > 0 ? height : 0) : y);
    }
    context.stroke();
    context.fillStyle = "#fff";
    context.font = "600 22px system-ui, sans-serif";
    context.fillText(plane.sides[0], 6, 24);
    context.fillText(plane.sides[1], width - 22, 24);
  };

  /* Parts of the viewer. */
  const rounded = (value) => String(Number(value.toPrecision(3))).replace("-", "\u2212");
  const say = ({ map, at, threshold }) => {
    const place = map.affine.map((row) => row[0] * at[0] + row[1] * at[1] + row[2] * at[2] + row[3]);
    const [x, y, z] = place.map((mm) => Math.round(mm).toString().replace("-", "\u2212"));
    const byte = map.voxels[at[0] + map.shape[0] * (at[1] + map.shape[1] * at[2])];
    const value = valueOf(map, byte);
    const isEnd = byte === 255 || (byte === 1 && map.span[0] < 0);
    let said = map.kind === "mask" ? "selected" : rounded(value);
    if (map.clipped && isEnd) said += " or beyond";
    if (byte && Math.abs(value) < threshold) said += " (below the threshold)";
    return `x = ${x}, y = ${y}, z = ${z} mm: ${byte ? said : map.kind === "mask" ? "not selected" : "no value"}`;
  };
  const planeCanvas = (plane, viewer, update) => {
    const canvas = make("canvas", { tabIndex: 0 });
    canvas.setAttribute("role", "application");
    canvas.setAttribute("aria-label",
      `${plane.name} slice: arrow keys move the cross-hair, Page Up and Page Down the slice`);
    const move = (axis, to) => {
      viewer.at[axis] = Math.min(Math.max(to, 0), viewer.map.shape[axis] - 1);
    };
    canvas.addEventListener("keydown", (event) => {
      if (!(event.key in KEYS)) return;
      event.preventDefault();
      const [which, by] = KEYS[event.key];
      move(plane[which], viewer.at[plane[which]] + by);
      update();
    });
    const point = (event) => {
      const box = canvas.getBoundingClientRect();
      const { shape } = viewer.map;
      move(plane.across, Math.floor((event.clientX - box.left) / box.width * shape[plane.across]));
      move(plane.up, Math.floor((1 - (event.clientY - box.top) / box.height) * shape[plane.up]));
      update();
    };
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      point(event);
    });
    canvas.addEventListener("pointermove", (event) => { if (event.buttons) point(event); });
    return canvas;
  };
  const fitCanvas = (canvas, plane, map) => {
    const sizes = sizesOf(map);
    const scale = PIXELS / Math.max(...sizes);
    canvas.width = Math.max(40, Math.round(sizes[plane.across] * scale));
    canvas.height = Math.max(40, Math.round(sizes[plane.up] * scale));
    canvas.style.flexGrow = canvas.width;
  };
  const showScale = (bar, { map }) => {
    bar.hidden = map.kind === "mask";
    const low = map.kind === "signed" ? -map.limit : 0;
    bar.querySelector("i").style.background = `linear-gradient(to right, ${map.colours.join(", ")})`;
    bar.firstChild.textContent = rounded(low);
    bar.lastChild.textContent = rounded(map.limit);
  };
  const chooser = (own, choose) => {
    const select = make("select");
    select.setAttribute("aria-label", "Map");
    select.append(...own.map((figure, at) =>
      make("option", { value: at, textContent: JSON.parse(figure.dataset.map).title })));
    select.addEventListener("change", () => choose(own[select.value]));
    return select;
  };

  const addViewer = async (own) => {
    const viewer = { map: null, at: [0, 0, 0], threshold: 0, table: [] };
    const line = make("p", { className: "said" });
    line.setAttribute("role", "status");
    const caption = make("figcaption");
    const update = () => {
      planes.forEach(({ plane, canvas }) => drawPlane(canvas, plane, viewer));
      line.textContent = say(viewer);
    };
    const planes = PLANES.map((plane) => ({ plane, canvas: planeCanvas(plane, viewer, update) }));
    const slider = make("input", { type: "range", min: 0, max: 1, step: 0.005 });
    const label = make("label", {}, "Threshold ", slider, make("output"));
    const setThreshold = (value) => {
      viewer.threshold = value;
      viewer.table = tableOf(viewer.map, value);
      label.lastChild.textContent = rounded(value);
    };
    slider.addEventListener("input", () => { setThreshold(slider.value * viewer.map.limit); update(); });
    const scale = make("span", { className: "scale" }, make("span"), make("i"), make("span"));
    const peak = make("button", { type: "button", textContent: "Largest value" });
    peak.addEventListener("click", () => { viewer.at = [...viewer.map.peak]; update(); });
    let latest = 0;
    const choose = async (figure) => {
      const turn = ++latest;
      const before = viewer.map;
      const map = await load(figure);
      if (turn !== latest) { return; }
      viewer.map = map;
      /* The cross-hair stays where it is when maps share a grid. */
      if (String(before && [before.shape, before.affine]) !== String([map.shape, map.affine])) {
        viewer.at = [...map.peak];
      }
      planes.forEach(({ plane, canvas }) => fitCanvas(canvas, plane, map));
      slider.max = Math.max(1, map.threshold / map.limit);
      slider.value = map.threshold / map.limit;
      label.hidden = peak.hidden = map.kind === "mask";
      setThreshold(map.threshold);
      showScale(scale, viewer);
      const thinned = map.step > 1 ? ` One voxel in ${map.step} is shown in each direction.` : "";
      caption.textContent = `${map.caption}${thinned} Click, drag or use the arrow keys; millimetres are those of ${map.space}.`;
      update();
    };
    const figuresButton = make("button", { type: "button", textContent: "As figures" });
    figuresButton.setAttribute("aria-pressed", "false");
    figuresButton.addEventListener("click", () => {
      const on = figuresButton.getAttribute("aria-pressed") !== "true";
      figuresButton.setAttribute("aria-pressed", String(on));
      own.forEach((figure) => figure.classList.toggle("explored", !on));
    });
    const tools = make("div", { className: "tools" },
      ...(own.length > 1 ? [chooser(own, choose)] : []), label, scale, peak, figuresButton);
    /* The figures stay until the first map is unpacked. */
    await choose(own[0]);
    own[0].before(make("figure", { className: "slices" }, tools,
      make("div", { className: "planes" }, ...planes.map(({ canvas }) => canvas)), line, caption));
    own.forEach((figure) => figure.classList.add("explored"));
  };
  for (const section of new Set(figures.map((figure) => figure.closest("section")))) {
    addViewer(figures.filter((figure) => section.contains(figure))).catch((error) => {
      window.console.warn("The figures stay:", error);
    });
  }
})();
