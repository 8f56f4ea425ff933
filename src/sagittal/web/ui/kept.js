// What the browser keeps for these pages, for good and until the tab is closed. One that is told to keep nothing for any
// page raises when it is asked for its stores: then the open page remembers, and the next one does not.
function kept(name) {
  try {
    return window[name];
  } catch {
    const held = new Map();
    return { getItem: (key) => held.get(key) ?? null, setItem: (key, value) => { held.set(key, value); } };
  }
}

export const forGood = kept("localStorage");
export const forNow = kept("sessionStorage");
