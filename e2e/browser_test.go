//go:build browser

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"ordo/api"
)

// screenshots names the directory in which pictures of the pages are kept;
// empty for none.
const screenshots = "SCREENSHOTS"

// The widths of a phone that is common, and of the narrowest.
const (
	phoneWidth  = 390
	narrowWidth = 320
	phoneHeight = 844
)

// browser is a Chromium that a person uses by keyboard alone.
type browser struct {
	t    testing.TB
	ctx  context.Context
	url  string
	mu   sync.Mutex
	errs []string
	n    int
}

// browser starts Chromium with a profile of its own.
func (p *process) browser() *browser {
	p.t.Helper()
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		p.t.Fatal("there is no Chromium; without the build tag browser this test is not run")
	}
	options := []chromedp.ExecAllocatorOption{chromedp.ExecPath(path), chromedp.Headless,
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.NoDefaultBrowserCheck, chromedp.UserDataDir(p.t.TempDir()),
		chromedp.Env("LANGUAGE=en"), chromedp.Flag("lang", "en-GB")}
	for _, flag := range []string{"disable-quic", "disable-background-networking",
		"disable-component-update", "disable-sync", "disable-dev-shm-usage"} {
		options = append(options, chromedp.Flag(flag, true))
	}
	ctx, cancel := context.WithTimeout(p.t.Context(), 5*time.Minute)
	p.t.Cleanup(cancel)
	ctx, stop := chromedp.NewExecAllocator(ctx, options...)
	p.t.Cleanup(stop)
	ctx, end := chromedp.NewContext(ctx)
	p.t.Cleanup(end)
	b := &browser{t: p.t, ctx: ctx, url: p.url}
	if err := chromedp.Listen(ctx, b.listen); err != nil {
		p.t.Fatal(err)
	}
	b.width(phoneWidth, "light")
	return b
}

// listen notes what a page complains of in the console.
func (b *browser) listen(event any) {
	note := func(text string) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.errs = append(b.errs, text)
	}
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		note(string(api.Raw(e.ExceptionDetails)))
	case *runtime.EventConsoleAPICalled:
		if e.Type == "error" || e.Type == "warning" {
			note(fmt.Sprintf("console %s: %s", e.Type, api.Raw(e.Args)))
		}
	case *log.EventEntryAdded:
		// A form that is refused is a page with that status.
		refused := strings.Contains(e.Entry.Text, "status of 422") ||
			strings.Contains(e.Entry.Text, "status of 409")
		if !refused && (e.Entry.Level == "error" || e.Entry.Level == "warning") {
			note(e.Entry.Text + " " + e.Entry.URL)
		}
	}
}

func (b *browser) run(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// width makes the window as wide as that, in a light or dark scheme.
func (b *browser) width(n int64, scheme string) {
	b.t.Helper()
	b.run(chromedp.EmulateViewport(n, phoneHeight, chromedp.EmulateScale(2)))
	if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme},
			{Name: "prefers-reduced-motion", Value: "reduce"}}}); err != nil {
		b.t.Fatal(err)
	}
}

// js evaluates an expression in the page; its value is read as a T.
func js[T any](b *browser, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

// act has the page do something that has no value.
func (b *browser) act(statement string) { b.t.Helper(); js[bool](b, statement+"; true") }

// shows waits until the page shows a text.
func (b *browser) shows(text string) {
	b.t.Helper()
	limit := time.Now().Add(time.Minute)
	for tick := time.NewTicker(50 * time.Millisecond); ; <-tick.C {
		// A page that is being left has no text.
		shown, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](
			`document.readyState === "complete" ? document.body.innerText : ""`))
		if err == nil && strings.Contains(shown, text) {
			tick.Stop()
			return
		}
		if time.Now().After(limit) {
			b.t.Fatalf("%q is not shown: %v\n%s", text, err, shown)
		}
	}
}

// key presses a key.
func (b *browser) key(keys ...string) {
	b.t.Helper()
	for _, k := range keys {
		b.run(chromedp.KeyEvent(k))
	}
}

// focused is what has the focus, as a screen reader says it.
const focused = `(() => { const e = document.activeElement;
	if (e === document.body) return "";
	if (e.matches("[role=region]")) return e.getAttribute("aria-label") ||
		document.getElementById(e.getAttribute("aria-labelledby")).innerText;
	return ((e.labels && e.labels[0] || e).innerText || e.getAttribute("aria-label") || "").trim() +
		(e.matches(":focus-visible") ? "" : " (not visible)") })()`

// tabTo presses Tab until a line of what has the focus begins with a text.
func (b *browser) tabTo(text string) {
	b.t.Helper()
	var passed []string
	for range 150 {
		b.key(kb.Tab)
		at := js[string](b, focused)
		passed = append(passed, at)
		if strings.Contains("\n"+at, "\n"+text) {
			if strings.HasSuffix(at, "(not visible)") {
				b.t.Errorf("the focus at %q is not visible", text)
			}
			return
		}
	}
	b.t.Fatalf("Tab does not lead to %q, but to %q", text, passed)
}

// enter goes to a field and writes into it in the place of what is there.
func (b *browser) enter(field, text string) {
	b.t.Helper()
	b.tabTo(field)
	b.act(`document.activeElement.select && document.activeElement.select()`)
	b.key(text)
}

// press goes to a button or a link and presses it.
func (b *browser) press(text string) { b.t.Helper(); b.tabTo(text); b.key(kb.Enter) }

// follow goes to a link within the page and follows it. The key sends no
// character, which would reach the field that then has the focus, and send the
// form.
func (b *browser) follow(text string) {
	b.t.Helper()
	b.tabTo(text)
	for _, event := range []input.DispatchKeyEventType{"rawKeyDown", "keyUp"} {
		if _, err := chromedp.Call(b.ctx, input.DispatchKeyEvent, input.DispatchKeyEventParams{
			Type: event, Key: "Enter", Code: "Enter", WindowsVirtualKeyCode: '\r'}); err != nil {
			b.t.Fatal(err)
		}
	}
}

// contrast are the texts of a page that are too pale after WCAG 2.2, 1.4.3.
const contrast = `(() => {
	const rgb = s => (s.match(/[\d.]+/g) || [0, 0, 0, 0]).map(Number);
	const light = c => { const [r, g, b] = c.slice(0, 3).map(v => { v /= 255;
		return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; });
		return .2126 * r + .7152 * g + .0722 * b; };
	const ground = e => { for (; e; e = e.parentElement) {
		const c = rgb(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c; }
		return [255, 255, 255]; };
	const pale = [];
	for (const e of document.querySelectorAll("body *")) {
		const own = [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
		if (!own || !e.checkVisibility() || e.closest("script, noscript, .hidden, .skip")) continue;
		const a = light(rgb(getComputedStyle(e).color)), b = light(ground(e));
		const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
		if (ratio < 4.5) pale.push(ratio.toFixed(2) + " " + e.textContent.trim().slice(0, 40));
	}
	return pale; })()`

// small are the controls that are too small for a thumb: WCAG 2.2, 2.5.8.
const small = `[...document.querySelectorAll("button, a.button, input:not([type=hidden]), summary")]
	.filter(e => e.checkVisibility() && !e.closest(".hidden") && e.tabIndex >= 0)
	.map(e => [e, e.getBoundingClientRect()])
	.filter(([e, r]) => (r.width < 24 || r.height < 24) && !e.labels?.length)
	.map(([e, r]) => e.innerText + " " + r.width + "x" + r.height)`

// look checks how the page looks, and keeps pictures of it.
func (b *browser) look(name string) {
	b.t.Helper()
	b.n++
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{narrowWidth, phoneWidth} {
			b.width(width, scheme)
			if n := js[int64](b, `document.documentElement.scrollWidth`); n > width {
				b.t.Errorf("%s: %d pixels wide in a window of %d", name, n, width)
			}
		}
		for _, text := range js[[]string](b, contrast) {
			b.t.Errorf("%s, %s: too pale: %s", name, scheme, text)
		}
		b.picture(fmt.Sprintf("%02d-%s-%s.png", b.n, name, scheme))
	}
	for _, text := range js[[]string](b, small) {
		b.t.Errorf("%s: too small: %s", name, text)
	}
	b.width(phoneWidth, "light")
}

func (b *browser) picture(name string) {
	b.t.Helper()
	dir := os.Getenv(screenshots)
	if dir == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// A person with a phone and a keyboard buys something: the page shows the
// payment by itself when it comes, and no page complains.
// ACCEPT P10 S9
func TestBrowser(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := serve(t, data, "--refund-time", "720h").ready()
	_, name := p.hoodies("20.00", "10")
	p.hoodies("12.50", "0")
	b := p.browser()
	b.run(chromedp.Navigate(p.url + "/"))
	b.shows(name)
	b.look("shop")
	b.key(kb.Tab)
	if at := js[string](b, focused); at != "Skip to the content" {
		t.Errorf("the first stop of Tab is %q", at)
	}
	b.key(kb.Enter)
	b.enter("Search products", strings.ToUpper(name))
	b.key(kb.Enter)
	b.shows("Products with")
	b.press(name)
	b.shows("S-Blue")
	b.buy()
	b.lookAt(p)
	b.wide(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, text := range b.errs {
		t.Errorf("in the console: %s", text)
	}
}

// buy goes from a product to an order that is paid.
func (b *browser) buy() {
	t := b.t
	t.Helper()
	// Arrows choose among radio buttons, and price and stock follow.
	b.tabTo("Blue")
	b.key(kb.ArrowRight)
	b.shows("S-Red")
	b.key(kb.Tab, kb.ArrowRight)
	b.shows("M-Red")
	b.look("product")
	b.enter("Quantity", "2")
	b.press("Add to cart")
	b.shows("Added to your cart")
	b.look("cart")
	b.press("Check out")
	b.shows("New here?")
	b.look("login")
	b.press("Make an account")
	b.shows("You have an account?")
	b.enter("E-mail", mail())
	b.enter("Password", "correct horse")
	b.press("Make the account")
	b.shows("You have no address yet")
	b.press("Add an address")
	for _, f := range [][2]string{{"Name", "Ada Lovelace"}, {"Street and number", "1 Park Row"},
		{"City", "Leeds"}, {"Country", "XX1"}, {"Phone", "+44 113 496 0000"}} {
		b.enter(f[0], f[1])
	}
	b.act(`document.getElementById("f-country").removeAttribute("maxlength")`)
	b.act(`document.getElementById("f-country").value = "Britain"`)
	b.press("Save")
	b.shows("There is a problem")
	if at := js[string](b, `document.activeElement.id`); at != "errors" {
		t.Errorf("the focus is at %q and not at what is wrong", at)
	}
	b.look("mistake")
	b.follow("Enter the country")
	eventually(t, "what is wrong leads to its field", func() bool {
		return js[string](b, `document.activeElement.id`) == "f-country"
	})
	b.act(`document.activeElement.select()`)
	b.key("GB", kb.Enter)
	b.shows("Where it goes")
	b.look("checkout")
	b.press("Place the order")
	b.shows("Thank you for your order")
	b.look("placed")
}

// lookAt pays the order that is on the page, from elsewhere, and sees the page
// follow without being loaded again.
func (b *browser) lookAt(p *process) {
	t := b.t
	t.Helper()
	order := js[string](b, `location.pathname`)
	b.press("Pay £40.00")
	b.shows("Continue to Alipay")
	b.look("pay")
	link := js[string](b, `document.getElementById("go").href`)
	b.press("Back to the order")
	b.shows("Everything is reserved for you")
	b.act(`window.still = true`)
	if s := p.till().steer("pay", "url", link); s.TradeStatus != "TRADE_SUCCESS" {
		t.Fatalf("paying: %+v", s)
	}
	b.shows("Thank you, your payment has arrived")
	b.shows("You earned 40 points")
	b.shows("Ask for a refund")
	if !js[bool](b, `window.still === true && location.pathname === "`+order+`"`) {
		t.Error("the page was loaded again")
	}
	if said := js[string](b, `document.getElementById("now").getAttribute("aria-live")`); said !=
		"polite" {
		t.Errorf("the state is said %q", said)
	}
	b.look("paid")
	b.tabTo("Ask for a refund")
	b.act(`const page = document.cloneNode(true); page.getElementById("back").append(" ");
		replace(page, "back")`)
	if at := js[string](b, `document.activeElement.tagName`); at != "SUMMARY" {
		t.Errorf("news of the order takes the focus to %s", at)
	}
	b.key(kb.Enter)
	b.tabTo("Hoodie")
	b.act(`document.activeElement.select()`)
	b.key("1")
	b.press("Ask for the refund")
	b.shows("Your refund is noted")
	b.shows("Refunded: 1")
	b.look("refund")
	for _, page := range []string{"orders", "wallet", "account", "addresses", "courses"} {
		b.run(chromedp.Navigate(p.url + "/" + page))
		b.look(page)
	}
	b.press("中文")
	b.shows("课程")
	for _, path := range []string{"/", order} {
		b.run(chromedp.Navigate(p.url + path))
		b.look("chinese")
	}
}

// wide looks at the shop on a desk.
func (b *browser) wide(p *process) {
	b.t.Helper()
	b.width(1200, "light")
	b.run(chromedp.Navigate(p.url + "/?category=Wear"))
	b.picture("wide.png")
	if n := js[int](b, `document.documentElement.scrollWidth`); n > 1200 {
		b.t.Errorf("%d pixels wide", n)
	}
}
