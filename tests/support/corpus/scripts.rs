//! Texts that carry scripts.

/// What every script would do: a page in which one ran has this global.
pub const MARK: &str = "hacked";

/// Markup around the script `{}`.
const SHAPES: [&str; 44] = [
    "<script>{}</script>",
    "<ScRiPt>{}</sCrIpT>",
    "<script\n>{}</script\n>",
    "<script src=\"data:text/javascript,{}\"></script>",
    "<scr<script>ipt>{}</scr</script>ipt>",
    "</td></tr></table><script>{}</script>",
    "</title><script>{}</script>",
    "</textarea><script>{}</script>",
    "</style><script>{}</script>",
    "</script><script>{}</script>",
    "--><script>{}</script><!--",
    "]]><script>{}</script>",
    "<img src=x onerror=\"{}\">",
    "<img src=x onerror='{}'>",
    "<img/src/onerror={}>",
    "<IMG SRC=x OnErRoR={}>",
    "<img src=\"x` `<script>{}</script>\"` `>",
    "<svg onload=\"{}\">",
    "<svg/onload={}>",
    "<svg><script>{}</script></svg>",
    "<svg><animate onbegin={} attributeName=x dur=1s>",
    "<svg><a xlink:href=\"javascript:{}\"><text y=20>click</text></a></svg>",
    "<math><mtext><script>{}</script></mtext></math>",
    "<iframe src=\"javascript:{}\"></iframe>",
    "<iframe srcdoc=\"<script>parent.{}</script>\"></iframe>",
    "<object data=\"javascript:{}\"></object>",
    "<embed src=\"javascript:{}\">",
    "<a href=\"javascript:{}\">x</a>",
    "<a href=\" &#14; javascript:{}\">x</a>",
    "<body onload=\"{}\">",
    "<input autofocus onfocus=\"{}\">",
    "<details open ontoggle=\"{}\">",
    "<video><source onerror=\"{}\"></video>",
    "<audio src=x onerror=\"{}\">",
    "<marquee onstart=\"{}\">",
    "<style>@import 'javascript:{}';</style>",
    "<style>*{background:url(\"javascript:{}\")}</style>",
    "<link rel=stylesheet href=\"javascript:{}\">",
    "<base href=\"javascript:{};//\">",
    "<meta http-equiv=refresh content=\"0;url=javascript:{}\">",
    "<template><script>{}</script></template>",
    "<noscript><p title=\"</noscript><script>{}</script>\">",
    "<form><button formaction=\"javascript:{}\">x</button></form>",
    "<div style=\"width:expression({})\">",
];

/// Ways out of an attribute, a text in a script, or a template, before the markup.
const ESCAPES: [&str; 5] = ["", "\">", "'>", "\\\"></a>", "${`"];

/// At least 200 names, each with the number that its script would leave behind.
pub fn hostile() -> Vec<String> {
    let mut names = Vec::new();
    for escape in ESCAPES {
        for shape in SHAPES {
            let script = format!("window.{MARK}={}", names.len() + 1);
            names.push(format!("{escape}{}", shape.replace("{}", &script)));
        }
    }
    for shape in
        ["{{constructor.constructor('window.hacked=1')()}}", "javascript:window.hacked=1", "<%= window.hacked=1 %>", "#{window.hacked=1}"]
    {
        names.push(shape.to_owned());
    }
    names
}
