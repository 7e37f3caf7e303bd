// One colour per class: the palette of the reports and overlays (no_time_to_train/report/palette.py).

const SAFE = ["#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#d55e00", "#0072b2", "#5b2a86"];
const TONES = [[0.85, 0.95], [0.55, 0.8], [0.95, 0.65], [0.4, 1]];

/** @param {number} index of the class @returns {string} CSS colour */
export function colourOf(index) {
  if (index < 0) return "#ffffff";
  if (index < SAFE.length) return SAFE[index];
  const step = index - SAFE.length;
  const [saturation, value] = TONES[step % TONES.length];
  const hue = (step * 0.6180339887498949) % 1;
  const channel = (n) => {
    const k = (n + hue * 6) % 6;
    return Math.round(255 * value * (1 - saturation * Math.max(0, Math.min(k, 4 - k, 1))));
  };
  return `rgb(${channel(5)}, ${channel(3)}, ${channel(1)})`;
}
