package conformance

import (
	"fmt"
	"math/rand"
	"reflect"
	"sort"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	api "github.com/containerd/containerd/api/services/content/v1"
	"github.com/containerd/containerd/content"
	"github.com/containerd/containerd/filters"
	ptypes "github.com/gogo/protobuf/types"
	digest "github.com/opencontainers/go-digest"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

func TestInfo(t *testing.T) {
	d := start(t)
	c := d.client(t)
	before := time.Now()
	dg := mustPutLabels(t, c, noise(3, 777), map[string]string{"a.b/c": "ü", "empty": ""})
	after := time.Now()
	check := func(t *testing.T) {
		t.Helper()
		r, err := c.Info(ctxFor(t), &api.InfoRequest{Digest: dg})
		noErr(t, err)
		i := r.Info
		if i.Digest != dg || i.Size_ != 777 || i.Labels["a.b/c"] != "ü" {
			t.Fatalf("%+v", i)
		}
		if i.CreatedAt.Before(before) || i.CreatedAt.After(after) || i.UpdatedAt.Before(i.CreatedAt) || i.UpdatedAt.After(after) {
			t.Fatalf("created %v, updated %v, want both within %v and %v", i.CreatedAt, i.UpdatedAt, before, after)
		}
		l := mustList(t, c)[dg]
		if l.Size_ != 777 || !l.CreatedAt.Equal(i.CreatedAt) || l.Labels["a.b/c"] != "ü" {
			t.Fatalf("List says %+v, Info %+v", l, i)
		}
	}
	t.Run("fresh", check)
	t.Run("with a namespace", func(t *testing.T) {
		ctx := metadata.AppendToOutgoingContext(ctxFor(t), "containerd-namespace", "k8s.io")
		_, err := c.Info(ctx, &api.InfoRequest{Digest: dg})
		noErr(t, err)
		if l, err := list(ctx, c); err != nil || len(l) != 1 {
			t.Fatalf("%v, %v: the namespace must not matter", l, err)
		}
	})
	d.restart(t, false)
	c = d.client(t)
	t.Run("after a restart", check)
	d.restart(t, true)
	c = d.client(t)
	t.Run("after kill -9", check)
}

func TestDelete(t *testing.T) {
	d := start(t)
	c := d.client(t)
	ctx := ctxFor(t)
	keep, drop := mustPut(t, c, []byte("keep")), mustPut(t, c, []byte("drop"))
	del := func() error {
		_, err := c.Delete(ctx, &api.DeleteContentRequest{Digest: drop})
		return err
	}
	noErr(t, del())
	wantCode(t, del(), codes.NotFound, drop.String())
	_, err := c.Info(ctx, &api.InfoRequest{Digest: drop})
	wantCode(t, err, codes.NotFound)
	if l := mustList(t, c); len(l) != 1 || l[keep].Size_ != 4 {
		t.Fatalf("%v", l)
	}
	if n := blobFiles(t, d.root); n != 1 {
		t.Fatalf("%d files below blobs/, want 1", n)
	}
	// The same bytes may come again.
	if mustPut(t, c, []byte("drop")) != drop {
		t.Fatal("another digest")
	}
	mustGet(t, c, drop)
}

func TestUpdate(t *testing.T) {
	d := start(t)
	c := d.client(t)
	ctx := ctxFor(t)
	first := map[string]string{"a": "1", "b": "2", "x.y/z": "3"}
	cases := []struct {
		name  string
		mask  []string
		given map[string]string
		want  map[string]string // nil: INVALID_ARGUMENT and no change
	}{
		{"no mask replaces", nil, map[string]string{"n": "1"}, map[string]string{"n": "1"}},
		{"no mask, no labels", nil, nil, map[string]string{}},
		{"labels replaces", []string{"labels"}, map[string]string{"n": "1"}, map[string]string{"n": "1"}},
		{"one key", []string{"labels.a"}, map[string]string{"a": "9", "b": "9"}, map[string]string{"a": "9", "b": "2", "x.y/z": "3"}},
		{"new key", []string{"labels.n"}, map[string]string{"n": "9"}, map[string]string{"a": "1", "b": "2", "x.y/z": "3", "n": "9"}},
		{"dotted key", []string{"labels.x.y/z"}, map[string]string{"x.y/z": "9"}, map[string]string{"a": "1", "b": "2", "x.y/z": "9"}},
		{"absent removes", []string{"labels.a"}, nil, map[string]string{"b": "2", "x.y/z": "3"}},
		{"empty removes", []string{"labels.a"}, map[string]string{"a": ""}, map[string]string{"b": "2", "x.y/z": "3"}},
		{"removing what is not there", []string{"labels.q"}, nil, first},
		{"two keys", []string{"labels.a", "labels.b"}, map[string]string{"a": "9"}, map[string]string{"a": "9", "x.y/z": "3"}},
		{"size", []string{"size"}, map[string]string{"a": "9"}, nil},
		{"digest", []string{"digest"}, nil, nil},
		{"good and bad", []string{"labels.a", "created_at"}, map[string]string{"a": "9"}, nil},
		{"empty path", []string{""}, nil, nil},
		{"labelsx", []string{"labelsx"}, nil, nil},
	}
	for n, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			dg := mustPutLabels(t, c, []byte(fmt.Sprint("update", n)), first)
			old, err := c.Info(ctx, &api.InfoRequest{Digest: dg})
			noErr(t, err)
			req := &api.UpdateRequest{Info: api.Info{Digest: dg, Labels: tc.given, Size_: 1}}
			if tc.mask != nil {
				req.UpdateMask = &ptypes.FieldMask{Paths: tc.mask}
			}
			before := time.Now()
			r, err := c.Update(ctx, req)
			want := tc.want
			if want == nil {
				wantCode(t, err, codes.InvalidArgument)
				want = first
			} else {
				noErr(t, err)
				sameLabels(t, r.Info.Labels, want)
				if r.Info.Digest != dg || r.Info.Size_ != old.Info.Size_ || !r.Info.CreatedAt.Equal(old.Info.CreatedAt) {
					t.Fatalf("the answer is not the whole blob: %+v", r.Info)
				}
				if r.Info.UpdatedAt.Before(before) {
					t.Fatalf("updated_at %v is older than the update", r.Info.UpdatedAt)
				}
			}
			now, err := c.Info(ctx, &api.InfoRequest{Digest: dg})
			noErr(t, err)
			sameLabels(t, now.Info.Labels, want)
			if tc.want == nil && !now.Info.UpdatedAt.Equal(old.Info.UpdatedAt) {
				t.Fatal("a refused update has changed updated_at")
			}
		})
	}
}

func sameLabels(t *testing.T, got, want map[string]string) {
	t.Helper()
	if len(got) == 0 && len(want) == 0 {
		return
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("labels are %v, want %v", got, want)
	}
}

func TestListBlocks(t *testing.T) {
	c := start(t).client(t)
	if l := mustList(t, c); len(l) != 0 {
		t.Fatalf("a fresh store lists %v", l)
	}
	// The daemon takes 1000 at a time.
	want := map[digest.Digest]int64{}
	for i := 0; i < 2001; i++ {
		b := []byte(strings.Repeat("x", i))
		want[mustPut(t, c, b)] = int64(i)
		if n := i + 1; n == 1 || n == 999 || n == 1000 || n == 1001 || n == 2000 || n == 2001 {
			l := mustList(t, c)
			if len(l) != n {
				t.Fatalf("%d blobs listed, want %d", len(l), n)
			}
			for d, size := range want {
				if l[d].Size_ != size || l[d].Digest != d {
					t.Fatalf("%s is listed as %+v, want %d bytes", d, l[d], size)
				}
			}
		}
	}
	// A client that drops a List half way costs nothing.
	for i := 0; i < 200; i++ {
		s, err := c.List(ctxFor(t), &api.ListContentRequest{})
		noErr(t, err)
		if i%2 == 0 {
			_, err = s.Recv()
			noErr(t, err)
		}
	}
	if len(mustList(t, c)) != len(want) {
		t.Fatal("not all blobs are listed")
	}
}

// filterCase: which of the store's blobs, or refs, a filter finds. `bad` filters are refused.
type filterCase struct {
	filters []string
	want    string // names, joined by spaces, in order
	bad     bool
}

func TestListFilters(t *testing.T) {
	c := start(t).client(t)
	names := map[digest.Digest]string{}
	for name, l := range map[string]map[string]string{
		"none":  nil,
		"one":   {"k": "v1"},
		"two":   {"k": "v2", "other": "x y"},
		"three": {"a.b/c": "deep", "k": "v3"},
		"four":  {"dots.in.key": "d", "q": `with "quotes"`},
	} {
		names[mustPutLabels(t, c, []byte(name), l)] = name
	}
	all := "four none one three two"
	d := sum([]byte("one")).String()
	cases := []filterCase{
		{nil, all, false},
		{[]string{""}, all, false},
		{[]string{"", "labels.k==v1"}, all, false},
		{[]string{"labels.k"}, "one three two", false},
		{[]string{"labels.k==v1"}, "one", false},
		{[]string{"labels.k == v1"}, "one", false},
		{[]string{`labels.k=="v1"`}, "one", false},
		{[]string{`labels."k"==v1`}, "one", false},
		{[]string{"labels.k==v1", "labels.k==v2"}, "one two", false},
		{[]string{"labels.k!=v1"}, "four none three two", false},
		{[]string{"labels.k~=v[12]"}, "one two", false},
		{[]string{"labels.k~=/^v[12]$/"}, "one two", false},
		{[]string{"labels.k~=|^v[23]$|"}, "three two", false},
		{[]string{`labels.k~="^v[23]$"`}, "three two", false},
		{[]string{"labels.k~=^$"}, "four none", false},
		{[]string{"labels.k~=("}, "", false},
		{[]string{"labels.k==v2,labels.other==\"x y\""}, "two", false},
		{[]string{"labels.k==v1,labels.other"}, "", false},
		{[]string{"labels.k, labels.other"}, "two", false},
		{[]string{`labels."a.b/c"==deep`}, "three", false},
		{[]string{`labels."a.b/c"`}, "three", false},
		{[]string{"labels.dots.in.key==d"}, "four", false},
		{[]string{`labels.dots."in".key==d`}, "four", false},
		{[]string{`labels.q=="with \"quotes\""`}, "four", false},
		{[]string{`labels.other=="x\u0020y"`}, "two", false},
		{[]string{"digest==" + d}, "one", false},
		{[]string{"digest!=" + d}, "four none three two", false},
		{[]string{"digest~=^sha256:"}, all, false},
		{[]string{"digest"}, all, false},
		{[]string{"size"}, "", false},
		{[]string{"size==3"}, "", false},
		{[]string{"nothing"}, "", false},
		{[]string{"nothing!=x"}, all, false},
		{[]string{"labels"}, "", false},
		{[]string{"labels.k=v1"}, "", true},
		{[]string{"labels.k==v1,"}, "", true},
		{[]string{","}, "", true},
		{[]string{"labels."}, "", true},
		{[]string{".labels"}, "", true},
		{[]string{"labels..k"}, "", true},
		{[]string{"labels.k=="}, "", true},
		{[]string{"labels.k~="}, "", true},
		{[]string{"=="}, "", true},
		{[]string{"==v"}, "", true},
		{[]string{`labels.k=="v1`}, "", true},
		{[]string{`labels.k=="\q"`}, "", true},
		{[]string{"labels.k==v1 labels.other"}, "", true},
		{[]string{"labels.k===v1"}, "one", true},
		{[]string{"labels.k==v1", "("}, "", true},
		{[]string{"labels.k;"}, "", true},
		{[]string{"!"}, "", true},
	}
	for _, tc := range cases {
		t.Run(fmt.Sprintf("%q", tc.filters), func(t *testing.T) {
			l, err := list(ctxFor(t), c, tc.filters...)
			if tc.bad {
				wantCode(t, err, codes.InvalidArgument)
				return
			}
			noErr(t, err)
			var got []string
			for d := range l {
				got = append(got, names[d])
			}
			sort.Strings(got)
			if s := strings.Join(got, " "); s != tc.want {
				t.Fatalf("finds %q, want %q", s, tc.want)
			}
		})
	}
}

// containerd's own parser is the reference: what it takes, and what it finds, over filters made at random
// from the grammar's pieces. Left out is where contract and containerd's parser part: fields that begin
// with a digit or "_", values that begin with ".", and white space before a comma or at the end.
func TestFiltersAgainstContainerd(t *testing.T) {
	c := start(t).client(t)
	infos := map[digest.Digest]content.Info{}
	for i, l := range []map[string]string{
		nil, {"k": "v1"}, {"k": "v2", "o": "x y"}, {"a.b": "v1"}, {"k": "", "o": "v1"}, {"k": `q"|/`}, {"k": "é"},
	} {
		b := []byte(fmt.Sprint("subject", i))
		infos[mustPutLabels(t, c, b, l)] = content.Info{Digest: sum(b), Labels: l}
	}
	pieces := []string{
		"labels", "labels.", "labels.k", "labels.o", "labels.k==", "labels.k!=", "labels.o~=", "digest", "digest~=", "k", ",", "==",
		"!=", "~=", "=", "!", `"`, `"k"`, `"v1"`, `"x y"`, `"\u00e9"`, `"\x71"`, `"\""`, `"\q"`, "/v[12]/", "|v.|", "|", "/", "v1", "v2", "é",
		"v[12]", "^$", "(", "*", "sha256", "\\", "x.y", "é", "\x00", "\xff",
	}
	rng := rand.New(rand.NewSource(11))
	agreed := 0
	for i := 0; i < 4000; i++ {
		var f string
		for n := rng.Intn(6) + 1; n > 0; n-- {
			f += pieces[rng.Intn(len(pieces))]
		}
		if !utf8.ValidString(f) {
			continue // no protobuf string
		}
		want := map[digest.Digest]bool{}
		ref, refErr := filters.ParseAll(f)
		if refErr == nil {
			for d, info := range infos {
				if ref.Match(content.AdaptInfo(info)) {
					want[d] = true
				}
			}
		}
		got, err := list(ctxFor(t), c, f)
		switch {
		case refErr != nil && status.Code(err) == codes.InvalidArgument:
		case refErr != nil:
			t.Errorf("%q: containerd refuses it (%v), here it finds %d (%v)", f, refErr, len(got), err)
		case err != nil:
			t.Errorf("%q: containerd finds %d, here it is refused: %v", f, len(want), err)
		case len(got) != len(want):
			t.Errorf("%q: finds %d, containerd %d", f, len(got), len(want))
		default:
			for d := range got {
				if !want[d] {
					t.Errorf("%q: finds %v, containerd does not", f, infos[d].Labels)
				}
			}
			agreed++
		}
	}
	if agreed < 200 {
		t.Fatalf("only %d of the filters were filters", agreed)
	}
}

func TestStatusFilters(t *testing.T) {
	c := start(t).client(t)
	open(t, c, "default/1/layer-a")
	open(t, c, "default/2/layer-b").park()
	open(t, c, "k8s.io/3/config").park()
	all := "default/1/layer-a default/2/layer-b k8s.io/3/config"
	cases := []filterCase{
		{nil, all, false},
		{[]string{""}, all, false},
		{[]string{"ref"}, all, false},
		{[]string{`ref=="default/1/layer-a"`}, "default/1/layer-a", false},
		{[]string{`ref==default/1/layer-a`}, "default/1/layer-a", false},
		{[]string{`ref~=^default/`}, "default/1/layer-a default/2/layer-b", false},
		{[]string{`ref~="^default/"`}, "default/1/layer-a default/2/layer-b", false},
		{[]string{`ref!=k8s.io/3/config`}, "default/1/layer-a default/2/layer-b", false},
		{[]string{"offset"}, "", false},
		{[]string{"ref=x"}, "", true},
		{[]string{"ref,"}, "", true},
	}
	for _, tc := range cases {
		t.Run(fmt.Sprintf("%q", tc.filters), func(t *testing.T) {
			l, err := statuses(ctxFor(t), c, tc.filters...)
			if tc.bad {
				wantCode(t, err, codes.InvalidArgument)
				return
			}
			noErr(t, err)
			var got []string
			for r := range l {
				got = append(got, r)
			}
			sort.Strings(got)
			if s := strings.Join(got, " "); s != tc.want {
				t.Fatalf("finds %q, want %q", s, tc.want)
			}
		})
	}
}
