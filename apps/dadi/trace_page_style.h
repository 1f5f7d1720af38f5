// How the page of a trace looks, light and dark. Colours of layers (--s0 …) are told apart with any colour vision: of
// each two, as of each and the grey of the rest, the OKLab distance is over 0.11 in simulated protanopia, deuteranopia
// and tritanopia, too.
#pragma once

#include <string_view>

namespace dadi {

inline constexpr std::string_view kTracePageStyle = R"css(
:root{color-scheme:light dark;--page:#f4f5f7;--card:#fff;--text:#1c2026;--quiet:#5d6673;--line:#e2e5ea;--stripe:#f7f8fa;
--gap:#eceef2;--accent:#2f5f9e;--s0:#4475b4;--s1:#e8930c;--s2:#075f27;--s3:#5e0462;--s4:#54b2fb;--s5:#9a9fa8}
@media(prefers-color-scheme:dark){:root{--page:#121316;--card:#1b1d21;--text:#e6e8ec;--quiet:#9aa3b0;--line:#2e3239;
--stripe:#202329;--gap:#26292f;--accent:#8fb6ee;--s0:#5f8ffb;--s1:#a55810;--s2:#0dd523;--s3:#f799b3;--s4:#ace8fd;--s5:#7d838e}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--text);font:14px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
main{max-width:1200px;margin:0 auto;padding:28px 24px 40px}
h1{font-size:23px;line-height:1.3;font-weight:650;margin:0;overflow-wrap:anywhere}
h2{font-size:15px;font-weight:650;margin:0}
p{margin:0;color:var(--quiet)}
code,.names,.path{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
header p{margin-top:2px;overflow-wrap:anywhere}
.totals{display:grid;grid-template-columns:repeat(auto-fit,minmax(170px,1fr));gap:12px;margin:20px 0}
.totals div,.card{background:var(--card);border:1px solid var(--line);border-radius:10px}
.totals div{padding:12px 16px}
.totals dt{color:var(--quiet);font-size:12.5px}
.totals dd{margin:0;font-size:24px;font-weight:650;line-height:1.35;font-variant-numeric:tabular-nums}
.totals dd+dd{font-size:12.5px;font-weight:400;line-height:1.5;color:var(--quiet)}
.card{padding:18px 20px;margin:0 0 20px}
.head{display:flex;flex-wrap:wrap;gap:8px 20px;align-items:center;justify-content:space-between}
.note{font-size:12.5px;margin-top:4px}
.views{position:relative}
.views>input{position:absolute;opacity:0;pointer-events:none}
.tabs{display:inline-flex;border:1px solid var(--line);border-radius:7px;overflow:hidden;margin-bottom:10px}
.tabs label{padding:4px 14px;cursor:pointer;color:var(--quiet);font-size:13px}
.tabs label+label{border-left:1px solid var(--line)}
.view{display:none}
#v0:checked~.v0,#v1:checked~.v1{display:block}
#v0:checked~.tabs [for=v0],#v1:checked~.tabs [for=v1]{background:var(--accent);color:var(--card)}
#v0:focus-visible~.tabs [for=v0],#v1:focus-visible~.tabs [for=v1]{outline:2px solid var(--text);outline-offset:-3px}
.key{display:flex;flex-wrap:wrap;gap:2px 16px;list-style:none;margin:8px 0 12px;padding:0;font-size:12.5px;color:var(--quiet)}
.swatch{display:inline-block;width:11px;height:11px;border-radius:3px;margin-right:6px;vertical-align:-1px;background:currentColor}
.map{display:grid;grid-template-columns:minmax(0,290px) minmax(0,1fr) auto;column-gap:10px;margin:12px 0 0}
.names,.sizes{list-style:none;margin:0;padding:0;font-size:12px;line-height:18px;white-space:nowrap;color:var(--quiet)}
.names{color:var(--text);text-align:right}
.names li{overflow:hidden;text-overflow:ellipsis;height:18px}
.sizes{text-align:right;font-variant-numeric:tabular-nums}
.places{position:relative;grid-column:1;font-size:12px;color:var(--quiet);font-variant-numeric:tabular-nums}
.places span{position:absolute;right:0;line-height:16px;margin-top:-8px;white-space:nowrap}
.places b{visibility:hidden;font-weight:400;white-space:nowrap}
.map.wide{grid-template-columns:auto minmax(0,1fr)}
.map svg{display:block;width:100%;height:var(--height);border:1px solid var(--line);border-width:1px 0;background:var(--card)}
.byfile svg{background:repeating-linear-gradient(var(--stripe) 0 18px,transparent 18px 36px);border:0}
.map path{fill:none;shape-rendering:crispEdges}
.map .lines{stroke:var(--line);vector-effect:non-scaling-stroke;stroke-width:1px}
.map .gap{fill:var(--gap)}.map .between{fill:var(--line)}
.map .cells path{stroke-width:1}.map.byfile .cells path{stroke-width:.72}
.map .hit{fill:transparent}.map .hit:hover{fill:var(--quiet);fill-opacity:.14}
.s0{stroke:var(--s0);color:var(--s0)}.s1{stroke:var(--s1);color:var(--s1)}.s2{stroke:var(--s2);color:var(--s2)}
.s3{stroke:var(--s3);color:var(--s3)}.s4{stroke:var(--s4);color:var(--s4)}.s5{stroke:var(--s5);color:var(--s5)}
.l0{opacity:.5}.l1{opacity:.75}
.time{grid-column:2;position:relative;height:20px;font-size:12px;color:var(--quiet);font-variant-numeric:tabular-nums}
.time span{position:absolute;transform:translateX(-50%);top:3px;white-space:nowrap}
.time span:first-child{transform:none}.time span:last-child{transform:translateX(-100%)}
.scroll{overflow-x:auto;margin:10px -20px -8px;padding:0 20px}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th{font-size:12.5px;font-weight:500;color:var(--quiet);text-align:right;padding:4px 14px 6px 0;border-bottom:1px solid var(--line);white-space:nowrap}
td{text-align:right;padding:3px 14px 3px 0;border-bottom:1px solid var(--line);white-space:nowrap;vertical-align:top}
tr:last-child td{border-bottom:0}
.left{text-align:left}
td.path{text-align:left;white-space:normal;overflow-wrap:anywhere;font-size:12.5px;unicode-bidi:isolate;width:99%}
.sum td{font-weight:650}
.share{width:110px;min-width:70px;padding-right:0}
.share i{display:block;height:9px;margin-top:6px;border-radius:2px;background:currentColor;min-width:1px}
@media(max-width:700px){main{padding:18px 12px}.map.byfile{grid-template-columns:36vw minmax(0,1fr)}.byfile .sizes,.time span:not(:first-child):not(:last-child){display:none}}
)css";

}  // namespace dadi
