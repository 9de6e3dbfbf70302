/* Surface viewer: two hemispheres that turn, in place of the figures of maps, which are printed. */
(() => {
  const { make, button, partOf, sayValue } = maps;
  const SIDES = ["Left", "Right"];
  const [WIDTH, HEIGHT] = [460, 360];
  /* Degrees around the vertical axis, for the left and the right hemisphere, and above the horizon. */
  const VIEWS = {
    Lateral: [180, 0, 0], Medial: [0, 180, 0], Dorsal: [-90, -90, 90], Ventral: [90, 90, -90],
    Anterior: [90, 90, 0], Posterior: [-90, -90, 0],
  };
  const KEYS = { ArrowLeft: [15, 0], ArrowRight: [-15, 0], ArrowDown: [0, 15], ArrowUp: [0, -15] };
  const ZOOMS = { "+": 1.25, "=": 1.25, "-": 0.8 };
  /* Depth, in radii of a hemisphere, up to which a vertex behind the surface counts as visible. */
  const NEAR = 0.03;

  /* Columns of whole numbers: differences between rows, in four planes of bytes. */
  const integers = (bytes, nColumns) => {
    const n = bytes.length / 4;
    const numbers = new Int32Array(n);
    const rows = n / nColumns;
    for (let at = 0; at < n; at += 1) {
      const code = bytes[at] | bytes[n + at] << 8 | bytes[2 * n + at] << 16 | bytes[3 * n + at] << 24;
      const step = code & 1 ? -((code + 1) >>> 1) : code >>> 1;
      numbers[at] = step + (at % rows ? numbers[at - 1] : 0);
    }
    return Array.from({ length: nColumns }, (_, column) =>
      numbers.subarray(column * rows, (column + 1) * rows));
  };
  const normalsOf = (points, triangles) => {
    const normals = points.map((axis) => new Float32Array(axis.length));
    const [a, b, c] = triangles;
    for (let at = 0; at < a.length; at += 1) {
      const along = (axis, other) => points[axis][other[at]] - points[axis][a[at]];
      const [u, v] = [b, c].map((other) => [0, 1, 2].map((axis) => along(axis, other)));
      const cross = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
      for (const corner of triangles) normals.forEach((axis, k) => { axis[corner[at]] += cross[k]; });
    }
    for (let at = 0; at < normals[0].length; at += 1) {
      const length = Math.hypot(...normals.map((axis) => axis[at])) || 1;
      normals.forEach((axis) => { axis[at] /= length; });
    }
    return normals;
  };
  const meshes = new Map();
  const meshOf = (card) => {
    const key = card.points + card.triangles;
    if (!meshes.has(key)) meshes.set(key, readMesh(card));
    return meshes.get(key);
  };
  const readMesh = async (card) => {
    const points = integers(await partOf(card.points), 3).map((axis) => {
      const [low, high] = axis.reduce(([least, most], x) => [Math.min(least, x), Math.max(most, x)], [Infinity, -Infinity]);
      return Float32Array.from(axis, (x) => x - (low + high) / 2);
    });
    const triangles = integers(await partOf(card.triangles), 3);
    let radius = 1;
    points[0].forEach((x, at) => { radius = Math.max(radius, Math.hypot(x, points[1][at], points[2][at])); });
    const normals = normalsOf(points, triangles);
    /* 1 where normals point outwards, which depends on the order of corners. */
    let outwards = 0;
    points.forEach((axis, k) => axis.forEach((x, at) => { outwards += x * normals[k][at]; }));
    return { points, triangles, radius, normals, outwards: Math.sign(outwards) || 1,
      ground: card.ground ? await partOf(card.ground) : null };
  };

  /* Axes of the picture: across, up, and towards the reader. */
  const axesOf = ({ turn, tilt }) => {
    const [a, e] = [turn, tilt].map((degrees) => degrees * Math.PI / 180);
    const near = [Math.cos(e) * Math.cos(a), Math.cos(e) * Math.sin(a), Math.sin(e)];
    const across = [-Math.sin(a), Math.cos(a), 0];
    const up = [near[1] * across[2] - near[2] * across[1], near[2] * across[0] - near[0] * across[2],
      near[0] * across[1] - near[1] * across[0]];
    return { across, up, near };
  };
  const along = (axes, direction, shift, scale) => {
    const [x, y, z] = axes;
    const [i, j, k] = direction.map((share) => share * scale);
    return Float32Array.from(x, (value, at) => value * i + y[at] * j + z[at] * k + shift);
  };
  /* Where vertices are in the picture, and how bright. */
  const project = ({ points, normals, radius }, view) => {
    const { across, up, near } = axesOf(view);
    const scale = view.zoom * 1.1 * HEIGHT / 2 / radius;
    return { x: along(points, across, WIDTH / 2, scale), y: along(points, up, HEIGHT / 2, -scale),
      depth: along(points, near, 0, 1), light: along(normals, near, 0, 1) };
  };

  /* Fill triangles, nearest on top. Returns the image, the depth of each pixel, and its vertex. */
  const fill = ({ x, y, depth, light }, [first, second, third], colours) => {
    const image = new ImageData(WIDTH, HEIGHT);
    const front = new Float32Array(WIDTH * HEIGHT).fill(-Infinity);
    const seen = new Int32Array(WIDTH * HEIGHT).fill(-1);
    const paint = (pixel, vertex, bright) => {
      seen[pixel] = vertex;
      for (let channel = 0; channel < 3; channel += 1) {
        image.data[4 * pixel + channel] = colours[3 * vertex + channel] * bright;
      }
      image.data[4 * pixel + 3] = 255;
    };
    const span = (p, q, r, most) => [Math.max(0, Math.ceil(Math.min(p, q, r))), Math.min(most - 1, Math.floor(Math.max(p, q, r)))];
    for (let at = 0; at < first.length; at += 1) {
      const [a, b, c] = [first[at], second[at], third[at]];
      const area = (x[b] - x[a]) * (y[c] - y[a]) - (x[c] - x[a]) * (y[b] - y[a]);
      const [left, right] = span(x[a], x[b], x[c], WIDTH);
      const [top, bottom] = area ? span(y[a], y[b], y[c], HEIGHT) : [1, 0];
      for (let row = top; row <= bottom; row += 1) {
        for (let column = left; column <= right; column += 1) {
          const ofB = ((column - x[a]) * (y[c] - y[a]) - (x[c] - x[a]) * (row - y[a])) / area;
          const ofC = ((x[b] - x[a]) * (row - y[a]) - (column - x[a]) * (y[b] - y[a])) / area;
          const ofA = 1 - ofB - ofC;
          const pixel = row * WIDTH + column;
          const here = ofA * depth[a] + ofB * depth[b] + ofC * depth[c];
          if (ofA < 0 || ofB < 0 || ofC < 0 || here <= front[pixel]) continue;
          front[pixel] = here;
          const nearest = ofA >= ofB && ofA >= ofC ? a : ofB >= ofC ? b : c;
          paint(pixel, nearest, 0.4 + 0.6 * Math.abs(ofA * light[a] + ofB * light[b] + ofC * light[c]));
        }
      }
    }
    return { image, front, seen };
  };
  const coloursOf = ({ map, table }, number) => {
    const { ground, points } = map.halves[number];
    const start = number * map.nLeft;
    const colours = new Float32Array(3 * points[0].length);
    for (let at = 0; at < points[0].length; at += 1) {
      const grey = ground && ground[at] ? 150 : 215;
      const colour = table[map.values[start + at]];
      const share = colour[3] / 255;
      for (let channel = 0; channel < 3; channel += 1) {
        colours[3 * at + channel] = colour[channel] * share + grey * (1 - share);
      }
    }
    return colours;
  };
  const drawHalf = (viewer, view, number) => {
    const mesh = viewer.map.halves[number];
    const placed = project(mesh, view);
    const { image, front, seen } = fill(placed, mesh.triangles, coloursOf(viewer, number));
    view.seen = seen;
    const context = view.canvas.getContext("2d");
    context.putImageData(image, 0, 0);
    const vertex = viewer.at - number * viewer.map.nLeft;
    if (number !== sideOf(viewer)) return;
    const [x, y] = [placed.x[vertex], placed.y[vertex]];
    if (placed.depth[vertex] < front[Math.round(y) * WIDTH + Math.round(x)] - NEAR * mesh.radius) return;
    context.strokeStyle = "#00846b";
    context.lineWidth = 3;
    context.beginPath();
    context.arc(x, y, 8, 0, 2 * Math.PI);
    context.stroke();
  };
  const sideOf = ({ at, map }) => Number(at >= map.nLeft);

  /* Turn, zoom and point. */
  const turnBy = (view, degrees, tilt) => {
    view.turn += degrees;
    view.tilt = Math.min(Math.max(view.tilt + tilt, -90), 90);
  };
  const zoomBy = (view, factor) => { view.zoom = Math.min(Math.max(view.zoom * factor, 0.5), 8); };
  const canvasOf = (viewer, view, number, update) => {
    const canvas = make("canvas", { tabIndex: 0, width: WIDTH, height: HEIGHT });
    canvas.setAttribute("role", "application");
    canvas.setAttribute("aria-label",
      `${SIDES[number]} hemisphere: arrow keys turn it, plus and minus change its size`);
    canvas.addEventListener("keydown", (event) => {
      if (event.key in KEYS) turnBy(view, ...KEYS[event.key]);
      else if (event.key in ZOOMS) zoomBy(view, ZOOMS[event.key]);
      else return;
      event.preventDefault();
      update();
    });
    const point = (event) => {
      const box = canvas.getBoundingClientRect();
      const column = Math.floor((event.clientX - box.left) / box.width * WIDTH);
      const row = Math.floor((event.clientY - box.top) / box.height * HEIGHT);
      const vertex = view.seen[row * WIDTH + column];
      if (vertex >= 0) viewer.at = vertex + number * viewer.map.nLeft;
    };
    let moved = 0;
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      moved = 0;
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!event.buttons) return;
      moved += Math.abs(event.movementX) + Math.abs(event.movementY);
      turnBy(view, -event.movementX / 2, event.movementY / 2);
      update();
    });
    canvas.addEventListener("pointerup", (event) => {
      if (moved < 4) point(event);
      update();
    });
    return canvas;
  };
  /* The peak, and that side of its hemisphere from which it is seen. */
  const toPeak = (viewer) => {
    viewer.at = viewer.map.peak;
    const number = sideOf(viewer);
    const vertex = viewer.at - number * viewer.map.nLeft;
    const sideways = viewer.map.halves[number].normals[0][vertex] * (number ? 1 : -1);
    const { outwards } = viewer.map.halves[number];
    look(viewer, sideways * outwards < 0 ? "Medial" : "Lateral");
  };
  const look = (viewer, name) => viewer.views.forEach((view, number) => {
    [view.turn, view.tilt] = [VIEWS[name][number], VIEWS[name][2]];
  });

  maps.addViewers({
    name: "meshes",
    load: async (map) => { map.halves = await Promise.all(map.meshes.map(meshOf)); },
    build: (viewer, update) => {
      viewer.views = SIDES.map((_, number) => {
        const view = { turn: VIEWS.Lateral[number], tilt: 0, zoom: 1, seen: null };
        view.canvas = canvasOf(viewer, view, number, update);
        return view;
      });
      return {
        element: make("div", { className: "planes" }, ...viewer.views.map(({ canvas }) => canvas)),
        tools: Object.keys(VIEWS).map((name) => button(name, () => { look(viewer, name); update(); })),
        draw: () => viewer.views.forEach((view, number) => drawHalf(viewer, view, number)),
      };
    },
    begin: (viewer, before) => {
      const { map } = viewer;
      /* The mark stays where it is when maps share surfaces. */
      if (JSON.stringify(before && before.meshes) !== JSON.stringify(map.meshes)) toPeak(viewer);
    },
    toPeak,
    say: (viewer) => {
      const { map, at } = viewer;
      const number = sideOf(viewer);
      const vertex = (at - number * map.nLeft).toLocaleString("en");
      return `${SIDES[number]} hemisphere, vertex ${vertex}: ${sayValue(viewer, map.values[at])}`;
    },
    hint: () => "Drag a hemisphere or use the arrow keys to turn it; click for the value of a vertex.",
  });
})();
