/* Slice viewer: three planes through a cross-hair in place of the figures of maps, which are printed. */
(() => {
  const { make, partOf, sayValue } = maps;
  const PLANES = [
    { name: "Sagittal", axis: 0, across: 1, up: 2, sides: ["P", "A"] },
    { name: "Coronal", axis: 1, across: 0, up: 2, sides: ["L", "R"] },
    { name: "Axial", axis: 2, across: 0, up: 1, sides: ["L", "R"] },
  ];
  const KEYS = { ArrowLeft: ["across", -1], ArrowRight: ["across", 1], ArrowDown: ["up", -1],
    ArrowUp: ["up", 1], PageDown: ["axis", -1], PageUp: ["axis", 1] };
  const PIXELS = 420;
  const sizesOf = (map) => [0, 1, 2].map((column) =>
    map.shape[column] * Math.hypot(...map.affine.map((row) => row[column])));

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
    context.drawImage(cut(map.values, map.shape, plane, at[plane.axis], (byte) => table[byte]),
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

  maps.addViewers({
    name: "slices",
    load: async (map) => { map.grey = map.ground ? await partOf(map.ground) : null; },
    build: (viewer, update) => {
      viewer.planes = PLANES.map((plane) => ({ plane, canvas: planeCanvas(plane, viewer, update) }));
      return {
        element: make("div", { className: "planes" }, ...viewer.planes.map(({ canvas }) => canvas)),
        tools: [],
        draw: () => viewer.planes.forEach(({ plane, canvas }) => drawPlane(canvas, plane, viewer)),
      };
    },
    begin: (viewer, before) => {
      const { map } = viewer;
      /* The cross-hair stays where it is when maps share a grid. */
      if (String(before && [before.shape, before.affine]) !== String([map.shape, map.affine])) {
        viewer.at = [...map.peak];
      }
      viewer.planes.forEach(({ plane, canvas }) => fitCanvas(canvas, plane, map));
    },
    toPeak: (viewer) => { viewer.at = [...viewer.map.peak]; },
    say: (viewer) => {
      const { map, at } = viewer;
      const place = map.affine.map((row) => row[0] * at[0] + row[1] * at[1] + row[2] * at[2] + row[3]);
      const [x, y, z] = place.map((mm) => Math.round(mm).toString().replace("-", "\u2212"));
      const byte = map.values[at[0] + map.shape[0] * (at[1] + map.shape[1] * at[2])];
      return `x = ${x}, y = ${y}, z = ${z} mm: ${sayValue(viewer, byte)}`;
    },
    hint: (map) => (map.step > 1 ? `One voxel in ${map.step} is shown in each direction. ` : "")
      + `Click, drag or use the arrow keys; millimetres are those of ${map.space}.`,
  });
})();
