package conventions

import (
	"fmt"
	"go/ast"
	"path"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const prometheus = "github.com/prometheus/client_golang/prometheus"

var metricRE = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

// metricFaults looks at every prometheus.…Opts literal, and every NewDesc.
// A helper may be given the end of a name, but the beginning stands where the metric is made.
func metricFaults(f file) []string {
	if f.test() || f.imports(prometheus) == "" {
		return nil
	}
	pkg := path.Base(path.Dir(f.path))
	var out []string
	judge := func(n ast.Node, name string) {
		for _, fault := range nameFaults(pkg, name) {
			out = append(out, f.at(n)+": "+fault)
		}
	}
	ast.Inspect(f.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CompositeLit:
			if s, ok := n.Type.(*ast.SelectorExpr); ok && metricOpts.MatchString(s.Sel.Name) {
				judge(n, optsName(n))
				if strings.HasPrefix(s.Sel.Name, "Counter") && !strings.HasSuffix(optsName(n), "_total") && !strings.HasSuffix(optsName(n), hole) {
					out = append(out, f.at(n)+": a counter's name ends with _total")
				}
			}
		case *ast.CallExpr:
			if s, ok := n.Fun.(*ast.SelectorExpr); ok && s.Sel.Name == "NewDesc" && len(n.Args) > 0 {
				judge(n, text(n.Args[0]))
			}
		}
		return true
	})
	return out
}

var metricOpts = regexp.MustCompile(`^(Counter|Gauge|Histogram|Summary|Untyped)(Vec)?Opts$`)

// hole stands for a part of a name that only running the program would tell.
const hole = "x"

// text evaluates literals and their sums.
func text(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		s, _ := strconv.Unquote(e.Value)
		return s
	case *ast.BinaryExpr:
		return text(e.X) + text(e.Y)
	}
	return hole
}

// optsName is the whole name that an Opts literal makes.
func optsName(lit *ast.CompositeLit) string {
	parts := map[string]string{}
	for _, e := range lit.Elts {
		kv, ok := e.(*ast.KeyValueExpr)
		if !ok {
			continue
		}
		if k, ok := kv.Key.(*ast.Ident); ok {
			parts[k.Name] = text(kv.Value)
		}
	}
	var name []string
	for _, k := range []string{"Namespace", "Subsystem", "Name"} {
		if parts[k] != "" {
			name = append(name, parts[k])
		}
	}
	return strings.Join(name, "_")
}

func nameFaults(pkg, name string) []string {
	var out []string
	if prefix := "muster_" + pkg + "_"; !strings.HasPrefix(name, prefix) {
		out = append(out, fmt.Sprintf("metric %q does not begin with %s", name, prefix))
	}
	if !metricRE.MatchString(name) {
		out = append(out, fmt.Sprintf("metric %q: want lower case words with one underscore between", name))
	}
	for _, unit := range []string{"_ms", "_millis", "_milliseconds", "_kb", "_mb", "_percent"} {
		if strings.Contains(name+"_", unit+"_") {
			out = append(out, fmt.Sprintf("metric %q: seconds, bytes and ratios are the units", name))
		}
	}
	return out
}

func TestMetricNames(t *testing.T) {
	bad := example(t, "dhcpd/metrics.go", `package dhcpd
import "github.com/prometheus/client_golang/prometheus"
var (
	a = prometheus.NewCounter(prometheus.CounterOpts{Name: "muster_dhcpd_offers"})
	b = prometheus.NewGauge(prometheus.GaugeOpts{Name: "muster_tftpd_x"})
	c = prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "muster", Name: "x"})
	d = prometheus.NewDesc("muster_dhcpd_wait_ms", "", nil, nil)
	e = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "muster_dhcpd_fine_total"}, nil)
	g = prometheus.NewGauge(prometheus.GaugeOpts{Name: "muster_dhcpd_Big"})
	h = prometheus.NewGauge(prometheus.GaugeOpts{Name: name})
	i = prometheus.NewCounter(prometheus.CounterOpts{Namespace: "muster", Subsystem: "dhcpd", Name: name})
	j = prometheus.NewCounter(prometheus.CounterOpts{Name: "muster_dhcpd_" + name})
)
`)
	want := []string{
		"dhcpd/metrics.go:4: a counter's name ends with _total",
		`dhcpd/metrics.go:5: metric "muster_tftpd_x" does not begin with muster_dhcpd_`,
		`dhcpd/metrics.go:6: metric "muster_x" does not begin with muster_dhcpd_`,
		`dhcpd/metrics.go:7: metric "muster_dhcpd_wait_ms": seconds, bytes and ratios are the units`,
		`dhcpd/metrics.go:9: metric "muster_dhcpd_Big": want lower case words with one underscore between`,
		`dhcpd/metrics.go:10: metric "x" does not begin with muster_dhcpd_`,
	}
	if d := cmp.Diff(want, metricFaults(bad)); d != "" {
		t.Errorf("example: -want +got:\n%s", d)
	}
	each(t, metricFaults)
}
