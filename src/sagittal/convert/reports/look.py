"""What the page of a report looks like: by itself, since `web.security` lets browsers take this style and no other."""

from __future__ import annotations

STYLE = (
    "body{font:16px/1.45 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem;color:#111;"
    "background:#fff}"
    "header{border-bottom:1px solid #999;margin-bottom:1rem}dl{display:grid;grid-template-columns:max-content 1fr;"
    "gap:.1rem 1rem;margin:.5rem 0}dt{color:#555}dd{margin:0;white-space:pre-wrap}section{margin-left:1rem}"
    "h1{font-size:1.5rem}h2{font-size:1.2rem}h3,h4,h5,h6{font-size:1rem}p{margin:.3rem 0;white-space:pre-wrap}"
    "b{font-weight:600}ul{margin:.1rem 0 .1rem 1.2rem;padding:0}"
)
