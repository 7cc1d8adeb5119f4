// What a reader's eyes would tell, asked in the page: contrast of every text, and whether the page is wider than the window.
(() => {
  document.querySelectorAll("details").forEach((details) => { details.open = true; });
  const parse = (color) => {
    const found = color.match(/[\d.]+/g).map(Number);
    return { r: found[0], g: found[1], b: found[2], a: found.length > 3 ? found[3] : 1 };
  };
  const luminance = ({ r, g, b }) => {
    const linear = [r, g, b].map((v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const contrast = (a, b) => {
    const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x);
    return (high + 0.05) / (low + 0.05);
  };
  const behind = (element) => {
    for (let node = element; node; node = node.parentElement) {
      const color = parse(getComputedStyle(node).backgroundColor);
      if (color.a > 0) return color;
    }
    return { r: 255, g: 255, b: 255, a: 1 };
  };
  const behindDrawn = (element, style) => {
    if (style.stroke !== "none") return parse(style.stroke); // a halo in the colour of the paper
    const box = element.getBoundingClientRect();
    const below = document.elementsFromPoint(box.x + box.width / 2, box.y + box.height / 2);
    for (const one of below) {
      if (one !== element && one.closest("svg") && ["rect", "path", "circle"].includes(one.tagName)) {
        const fill = getComputedStyle(one).fill;
        if (fill !== "none") return parse(fill);
      }
    }
    return behind(element.closest("figure"));
  };
  const pale = [];
  let texts = 0;
  for (const element of document.body.querySelectorAll("*")) {
    const own = [...element.childNodes].filter((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own.length || ["title", "desc"].includes(element.tagName)) continue;
    const range = document.createRange();
    range.selectNodeContents(element);
    const box = range.getBoundingClientRect();
    if (!box.width || !box.height) continue;
    const style = getComputedStyle(element);
    const drawn = Boolean(element.closest("svg"));
    const ratio = contrast(parse(drawn ? style.fill : style.color), drawn ? behindDrawn(element, style) : behind(element));
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    texts += 1;
    if (ratio < (large ? 3 : 4.5)) pale.push(`${element.tagName}.${element.getAttribute("class")} ${own[0].textContent.trim()} ${ratio.toFixed(2)}`);
  }
  const small = [...document.querySelectorAll("svg text")].filter((t) => t.getBoundingClientRect().height < 10).length;
  // Labels of a chart's axis that lie over each other, or touch.
  const over = [...document.querySelectorAll("svg.chart")].flatMap((chart) => {
    const axis = [...chart.querySelectorAll("text.axis:not(.over)")].map((t) => [t.textContent, t.getBoundingClientRect()]);
    return axis.slice(1).filter(([, box], place) => axis[place][1].right + 2 > box.left).map(([text]) => text);
  });
  // What runs out of its place, to a pixel: text out of its chart, a label out of its bar, a number out of its tile.
  const told = (element) => { const range = document.createRange(); range.selectNodeContents(element); return range.getBoundingClientRect(); };
  const beyond = (inner, outer) => inner.left < outer.left - 1 || inner.right > outer.right + 1;
  const places = [
    ...[...document.querySelectorAll("figure svg text")].map((t) => [t, t.getBoundingClientRect(), t.closest("figure")]),
    ...[...document.querySelectorAll("text.within")].map((t) => [t, t.getBoundingClientRect(), t.previousElementSibling]),
    ...[...document.querySelectorAll(".facts dd")].map((d) => [d, told(d), d]),
  ];
  const out = places.filter(([, box, place]) => beyond(box, place.getBoundingClientRect())).map(([one]) => one.textContent);
  // What lies over something else: a line over the title of a lane, the number of an axis over its chart, a tile over the next.
  const cross = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  const pairs = (from, to) => [...document.querySelectorAll(from)].flatMap((a) =>
    [...a.closest("figure").querySelectorAll(to)].map((b) => [a, b]));
  const upon = [...pairs("text.lane", "line.now"), ...pairs("svg.scale text", "path.area, rect.bar")]
    .filter(([a, b]) => cross(a.getBoundingClientRect(), b.getBoundingClientRect())).map(([a]) => a.textContent);
  const tiles = [...document.querySelectorAll(".facts > div")].map((d) => [told(d.querySelector("dd")), d.textContent]);
  upon.push(...tiles.slice(1).filter(([box], n) => tiles[n][0].top < box.bottom && tiles[n][0].right + 8 > box.left && tiles[n][0].left < box.left).map(([, text]) => text));
  return {
    texts, pale, small, over, out, upon,
    wide: document.documentElement.scrollWidth - window.innerWidth,
    paper: getComputedStyle(document.body).backgroundColor,
  };
})()
