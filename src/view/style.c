/* view/style.c: colours and CSS.
 *
 * Picture and text keep the same two colours everywhere, from the colour-blind safe palette of Okabe and Ito (2008):
 * blue 0072B2 and vermilion D55E00; they also differ by shape (circle, triangle), so a grey printout still reads. Every
 * colour has a light and a dark value and gets two classes: f-NAME fills, s-NAME strokes. The page uses CSS variables;
 * a stand-alone SVG gets literal values and a dark block, because many SVG viewers know no variables. NAME-ink is the
 * darker variant for words (contrast 4.5). */
#include "view/fig.h"

#include <string.h>

static const struct colour {
    const char *name, *light, *dark;
} colours[] = {
    {"bg", "#faf9f6", "#13151a"},       {"card", "#ffffff", "#1b1e25"},      {"ink", "#1a1d23", "#eceef2"},
    {"soft", "#5b626e", "#a7afbc"},     {"line", "#e2dfd8", "#333944"},      {"grid", "#ece9e3", "#2a2f39"},
    {"image", "#0072b2", "#56b4e9"},    {"text", "#d55e00", "#f08a3c"},      {"image-ink", "#00639b", "#7cc6f2"},
    {"text-ink", "#ad4a00", "#f6a467"}, {"good", "#009e73", "#2fc79b"},      {"good-ink", "#00734f", "#5ad8b2"},
    {"bad", "#b03060", "#f084a8"},      {"bad-ink", "#a02555", "#f49bb9"},   {"other", "#8b9099", "#8e96a3"},
    {"hole", "#e6e3dc", "#2d323c"},     {"other-ink", "#5b626e", "#a7afbc"},
};

/* Everything that a mark can be besides its colour. */
static const char marks[] =
    "svg text{font:13px system-ui,-apple-system,\"Segoe UI\",Roboto,\"Helvetica "
    "Neue\",sans-serif;font-variant-numeric:tabular-nums}\n"
    "svg .tick{font-size:12px}svg .label{font-size:12.5px}svg .stamp{font-size:11px}svg .b{font-weight:650}\n"
    "svg .head{font-size:15px;font-weight:650}svg .big{font-size:18px;font-weight:700}svg .small{font-size:11.5px}\n"
    "svg .grid{stroke-width:1}svg .base{stroke-width:1}svg .dot{fill-opacity:.55}svg "
    ".pair{stroke-width:.8;stroke-opacity:.4}\n"
    "svg .step{fill:none;stroke-width:2.2;stroke-linejoin:round}svg .area{fill-opacity:.16}svg "
    ".dash{stroke-dasharray:6 3}\n"
    "svg .dots{stroke-dasharray:2 3}svg .thick{stroke-width:4;stroke-linecap:round}svg .mean{stroke-width:1.6}\n"
    "svg .bar{fill-opacity:.82}svg .pale{fill-opacity:.38}svg .halo{stroke-width:3}svg "
    ".whisker{stroke-width:1.8;fill:none}\n"
    "svg .hollow{stroke-width:1.8}\n";

static void colour_classes(struct str *b, bool variables, bool dark)
{
    for (size_t i = 0; i < ARRAY_LEN(colours); i++) {
        const struct colour *c = &colours[i];
        if (variables)
            str_add(b, "svg .f-%s{fill:var(--%s)}svg .s-%s{stroke:var(--%s)}\n", c->name, c->name, c->name, c->name);
        else
            str_add(b, "svg .f-%s{fill:%s}svg .s-%s{stroke:%s}\n", c->name, dark ? c->dark : c->light, c->name,
                    dark ? c->dark : c->light);
    }
    static const struct {
        const char *selector, *property, *colour;
    } rules[] = {{"svg text", "fill", "ink"},    {"svg .tick", "fill", "soft"},   {"svg .label", "fill", "soft"},
                 {"svg .stamp", "fill", "soft"}, {"svg .grid", "stroke", "grid"}, {"svg .base", "stroke", "soft"}};
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        const char *value = NULL;
        for (size_t k = 0; k < ARRAY_LEN(colours); k++)
            if (strcmp(colours[k].name, rules[i].colour) == 0)
                value = dark ? colours[k].dark : colours[k].light;
        if (variables)
            str_add(b, "%s{%s:var(--%s)}\n", rules[i].selector, rules[i].property, rules[i].colour);
        else
            str_add(b, "%s{%s:%s}\n", rules[i].selector, rules[i].property, value);
    }
    static const char *const inks[] = {"image-ink", "text-ink", "good-ink", "bad-ink", "other-ink"};
    for (size_t i = 0; i < ARRAY_LEN(inks); i++) /* a text's own colour beats the general text rule */
        for (size_t k = 0; k < ARRAY_LEN(colours); k++)
            if (strcmp(colours[k].name, inks[i]) == 0) {
                if (variables)
                    str_add(b, "svg text.f-%s{fill:var(--%s)}\n", inks[i], inks[i]);
                else
                    str_add(b, "svg text.f-%s{fill:%s}\n", inks[i], dark ? colours[k].dark : colours[k].light);
            }
}

void style_figure(struct str *b)
{
    str_add(b, "<style>\n%s", marks);
    colour_classes(b, false, false);
    str_add(b, "@media (prefers-color-scheme:dark){\n");
    colour_classes(b, false, true);
    str_add(b, "}\n</style>\n");
}

static void variables(struct str *b, bool dark)
{
    for (size_t i = 0; i < ARRAY_LEN(colours); i++)
        str_add(b, "--%s:%s;", colours[i].name, dark ? colours[i].dark : colours[i].light);
}

static const char layout[] =
    "*{box-sizing:border-box}\n"
    "html{-webkit-text-size-adjust:100%;scroll-behavior:smooth}\n"
    "body{margin:0;background:var(--bg);color:var(--ink);font:17px/1.6 system-ui,-apple-system,\"Segoe UI\",Roboto,"
    "\"Helvetica Neue\",sans-serif}\n"
    "main,header.top,footer{max-width:1080px;margin:0 auto;padding:0 24px}\n"
    "header.top{padding-top:56px}\n"
    ".kicker{margin:0 0 "
    "10px;font-size:13px;font-weight:650;letter-spacing:.09em;text-transform:uppercase;color:var(--soft)}\n"
    "h1{margin:0;font-size:clamp(30px,5vw,46px);line-height:1.12;letter-spacing:-.02em;font-weight:750;overflow-wrap:"
    "anywhere}\n"
    "h2{margin:0 0 6px;font-size:clamp(23px,3.2vw,30px);line-height:1.2;letter-spacing:-.012em;font-weight:720}\n"
    "h3{margin:26px 0 12px;font-size:18px;font-weight:680}\n"
    ".about{margin:12px 0 0;color:var(--soft)}\n"
    ".lead{margin:34px 0 0;padding:0;list-style:none;max-width:46em;font-size:clamp(18px,2.1vw,21px);line-height:1.5}\n"
    ".lead li{margin:0 0 16px;padding-left:22px;position:relative}\n"
    ".lead li::before{content:\"\";position:absolute;left:0;top:.62em;width:9px;height:9px;border-radius:50%;"
    "background:var(--image)}\n"
    ".lead li:nth-child(even)::before{width:0;height:0;border-radius:0;background:none;border:6px solid transparent;"
    "border-bottom:10px solid var(--text);border-top:0}\n"
    ".lead "
    "b{font-weight:700}.ci{color:var(--soft);font-size:.82em;white-space:nowrap;font-variant-numeric:tabular-nums}\n"
    ".tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(196px,1fr));gap:14px;margin:34px 0 0;padding:0;"
    "list-style:none}\n"
    ".tile{background:var(--card);border:1px solid var(--line);border-radius:14px;padding:16px 18px 18px}\n"
    ".tile .name{display:block;font-size:14px;line-height:1.35;color:var(--soft);min-height:2.7em}\n"
    ".tile .value{display:block;margin-top:4px;font-size:34px;line-height:1.15;font-weight:720;letter-spacing:-.02em;"
    "font-variant-numeric:tabular-nums}\n"
    ".tile .range{display:block;font-size:14px;color:var(--soft);min-height:1.6em;font-variant-numeric:tabular-nums}\n"
    ".rail{display:block;position:relative;height:6px;margin-top:10px;border-radius:3px;background:var(--grid)}\n"
    ".rail i{position:absolute;top:0;height:6px;border-radius:3px;opacity:.45}.rail "
    "b{position:absolute;top:-3px;width:4px;"
    "height:12px;margin-left:-2px;border-radius:2px}\n"
    ".c-image i,.c-image b{background:var(--image)}.c-text i,.c-text b{background:var(--text)}"
    ".c-good i,.c-good b{background:var(--good)}.c-other i,.c-other b{background:var(--other)}\n"
    "nav{margin:40px 0 0;padding:14px 0;border-top:1px solid var(--line);border-bottom:1px solid "
    "var(--line);font-size:15px}\n"
    "nav ul{display:flex;flex-wrap:wrap;gap:6px 22px;margin:0;padding:0;list-style:none}\n"
    "a{color:var(--image-ink)}nav a{text-decoration:none}nav a:hover,nav a:focus{text-decoration:underline}\n"
    "a:focus-visible,summary:focus-visible,[tabindex]:focus-visible{outline:3px solid var(--image);outline-offset:3px;"
    "border-radius:4px}\n"
    "section{margin:64px 0 0}\n"
    "figure{margin:18px 0 0;padding:22px 22px 14px;background:var(--card);border:1px solid "
    "var(--line);border-radius:16px}\n"
    "figcaption{margin:14px 0 0;font-size:15.5px;line-height:1.55;color:var(--soft);max-width:56em}\n"
    "figcaption b{color:var(--ink);font-weight:650}\n"
    ".panels{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr));gap:18px 26px}\n"
    ".panels .wide{max-width:840px;margin:0 auto}.panels svg{display:block;width:100%;height:auto;overflow:visible}\n"
    "details{margin:12px 0 0;font-size:15px}summary{cursor:pointer;color:var(--image-ink);padding:4px "
    "0;width:fit-content}\n"
    "details p{margin:6px 0}\n"
    ".scroll{overflow-x:auto;max-height:420px;overflow-y:auto;border:1px solid var(--line);border-radius:10px}\n"
    "pre{margin:0;padding:12px 14px;font:12.5px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;tab-size:16}\n"
    "table{border-collapse:collapse;width:100%;font-size:15px;font-variant-numeric:tabular-nums}\n"
    "th,td{padding:8px 14px;text-align:left;border-bottom:1px solid var(--line);vertical-align:top}\n"
    "td.n,th.n{text-align:right;white-space:nowrap}thead th{font-size:13.5px;color:var(--soft);font-weight:650}\n"
    ".scroll th,.scroll td{white-space:nowrap;padding:4px 12px;font-size:13px}\n"
    "tbody th{font-weight:500}tbody tr:last-child>*{border-bottom:0}tr.sub th{padding-top:20px;font-weight:700}\n"
    ".numbers{margin:18px 0 0;background:var(--card);border:1px solid var(--line);border-radius:16px;overflow-x:auto;"
    "padding:8px 8px}\n"
    ".stamp{margin:10px 0 0;text-align:right;font-size:12.5px;color:var(--soft)}\n"
    "footer{margin-top:72px;padding-top:26px;padding-bottom:64px;border-top:1px solid var(--line);font-size:15px;"
    "color:var(--soft)}\n"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:4px 22px;margin:0}dt{font-weight:600}dd{margin:0;"
    "overflow-wrap:anywhere}\n"
    "code{font:13.5px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}\n";

static const char cards[] =
    ".grow{display:grid;grid-template-columns:230px 1fr;gap:6px 26px;padding:18px 0;border-top:1px solid var(--line)}\n"
    ".grow:first-of-type,h3+.grow{border-top:0;padding-top:6px}\n"
    ".verdict{margin:8px 0 0;font-size:13.5px;line-height:1.4;color:var(--soft)}\n"
    "figure>h3:first-child{margin-top:0}.clamp{display:-webkit-box;-webkit-box-orient:vertical;-webkit-line-clamp:7;"
    "overflow:hidden}\n"
    ".strips{display:flex;flex-wrap:wrap;gap:12px 26px;min-width:0;align-items:flex-start}\n"
    ".strip{min-width:0}.strip>p{margin:0 0 "
    "6px;font-size:12.5px;font-weight:650;letter-spacing:.03em;color:var(--soft)}\n"
    ".cards{display:flex;flex-wrap:wrap;gap:12px;margin:0;padding:0;list-style:none}\n"
    ".card{width:132px;font-size:13px;line-height:1.35}\n"
    ".card.t{width:134px}\n"
    ".card img,.noimg{display:block;width:132px;height:132px;object-fit:contain;border-radius:10px;background:#fff;"
    "border:1px solid var(--line)}\n"
    ".noimg{display:flex;align-items:center;justify-content:center;background:var(--hole);color:var(--soft);font-size:"
    "12px}\n"
    ".card.right img,.card.right .noimg,.card.right .said{border:2.5px solid var(--good)}\n"
    ".card.wrong img,.card.wrong .noimg,.card.wrong .said{border:2.5px dashed var(--bad)}\n"
    ".said{display:block;min-height:64px;padding:8px 11px;border:1px solid var(--line);border-left:4px solid "
    "var(--text);"
    "border-radius:10px;background:var(--bg);font-size:14px;line-height:1.4;overflow-wrap:anywhere}\n"
    ".card.right .said{border-left-width:4px}\n"
    ".under{display:block;margin-top:5px;color:var(--soft);overflow-wrap:anywhere;font-variant-numeric:tabular-nums}\n"
    ".mark-right{color:var(--good-ink);font-weight:700}.mark-wrong{color:var(--bad-ink);font-weight:700}\n"
    ".query .card,.query .card.t{width:100%}.query .said{font-size:16px;font-weight:500}\n"
    ".query img,.query .noimg{width:150px;height:150px}\n"
    ".hits{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:20px;margin:28px 0 0;padding:0;"
    "list-style:none}\n"
    ".hits .card{width:auto}.hits img,.hits .noimg{width:100%;height:auto;aspect-ratio:1}\n"
    ".hits .rank{font-weight:700;color:var(--ink)}\n";

static const char narrow[] =
    "@media (max-width:640px){body{font-size:16px}main,header.top,footer{padding-left:16px;padding-right:16px}"
    "header.top{padding-top:32px}section{margin-top:48px}figure{padding:14px 12px 10px;border-radius:12px}"
    ".tiles{grid-template-columns:1fr 1fr;gap:10px}.tile{padding:12px 13px 14px}.tile .value{font-size:27px}"
    ".grow{grid-template-columns:1fr}.strip{width:100%}.cards{gap:9px}.card{width:calc(33.3% - 6px)}.card img,.card "
    ".noimg{"
    "width:100%;height:auto;aspect-ratio:1}.card.t{width:calc(50% - 5px)}.card.t "
    ".clamp{-webkit-line-clamp:5}.card.t:only-child{width:100%}"
    ".query img,.query .noimg{width:112px;height:112px}"
    "svg text{font-size:15px}svg .tick,svg .label{font-size:14.5px}svg .small{font-size:13px}"
    "svg.wide text{font-size:23px}svg.wide .tick,svg.wide .label{font-size:21px}svg.wide .big{font-size:25px}"
    "th,td{padding:7px 8px}dl{grid-template-columns:1fr}dd{margin:0 0 8px}}\n"
    "@media print{body{background:#fff}figure,.tile,.grow{break-inside:avoid}nav{display:none}}\n"
    "@media (prefers-reduced-motion:reduce){html{scroll-behavior:auto}}\n";

void style_page(struct str *b)
{
    str_add(b, "<style>\n:root{color-scheme:light dark;");
    variables(b, false);
    str_add(b, "}\n@media (prefers-color-scheme:dark){:root{");
    variables(b, true);
    str_add(b, "}}\n%s%s%s", layout, cards, marks);
    colour_classes(b, true, false);
    str_add(b, "%s</style>\n", narrow);
}
