use super::*;

#[test]
fn a_chart_of_lines_looks_like_this() {
    let chart = Chart::new()
        .title("Loss <1>")
        .axes("epoch", "loss")
        .line("train", [(1, 0.5), (2, 0.25), (3, 0.125)])
        .line("test & more", [(1, 0.6), (2, 0.4), (3, 0.35)]);
    insta::assert_snapshot!(chart.to_svg().replace("><", ">\n<"));
    insta::assert_snapshot!(chart.to_text());
}

#[test]
fn bars_of_several_series_share_their_names() {
    let chart = Chart::new()
        .bars("2024", [("사과", 3), ("pears", 5)])
        .bars("2025", [("pears", 2.5), ("plums", -1.0)]);
    assert_eq!(chart.categories, ["사과", "pears", "plums"]);
    let svg = chart.to_svg();
    for told in [">사과<", ">plums<", "2025, pears: 2.5</title>"] {
        assert!(
            svg.replace(['\n', '\r'], "").contains(told),
            "{told}: {svg}"
        );
    }
    insta::assert_snapshot!(chart.to_text(), @r"
    사과 2024   ████████████████████████ 3
    pears 2024  ████████████████████████████████████████ 5
    pears 2025  ████████████████████ 2.5
    plums 2025  ░░░░░░░░ -1
    ");
}

#[test]
fn points_are_pairs_or_numbers_borrowed_or_not() {
    let (pairs, numbers) = (vec![(0_u8, 1.5_f32)], vec![1.5_f64]);
    let points = |chart: Chart| chart.series[0].points.clone();
    let expected = vec![(0.0, 1.5)];
    assert_eq!(points(Chart::new().line("", &pairs)), expected);
    assert_eq!(points(Chart::new().line("", &numbers)), expected);
    assert_eq!(points(Chart::new().scatter("", pairs)), expected);
    assert_eq!(points(Chart::new().scatter("", numbers)), expected);
}

#[test]
fn every_kind_of_value_is_drawn() {
    let kinds: [&[(f64, f64)]; 9] = [
        &[],
        &[(0.0, 1.0)],
        &[(0.0, 0.0)],
        &[(0.0, 1.0), (1.0, 1.0)],
        &[(0.0, f64::NAN), (1.0, f64::INFINITY)],
        &[
            (0.0, f64::MAX),
            (1.0, f64::MIN),
            (2.0, 1e300),
            (3.0, -1e300),
        ],
        &[(0.0, 1e9), (1.0, 1e9 + 1e-7)],
        &[(0.0, 1e-30), (1e-30, 2e-30)],
        &[(0.0, 0.5), (1.0, f64::NAN), (2.0, 0.25)],
    ];
    for points in kinds {
        let pairs = || points.iter().copied();
        let bars = || points.iter().map(|(x, y)| (format!("{x}"), *y));
        for chart in [
            Chart::new().line("a", pairs()),
            Chart::new().scatter("", pairs()).size(1, 1),
            Chart::new().bars("b", bars()),
            Chart::new().bars("b", bars()).line("l", pairs()),
        ] {
            let svg = chart.to_svg();
            assert!(svg.starts_with("<svg") && svg.ends_with("</svg>"), "{svg}");
            assert!(!svg.contains("could not be drawn"), "{points:?}: {svg}");
            assert!(
                !svg.contains("NaN") && !svg.contains("inf"),
                "{points:?}: {svg}"
            );
            assert!(!chart.to_text().contains("NaN"), "{points:?}");
        }
    }
}

#[test]
fn a_gap_parts_a_line() {
    let lines = |values: &[f64]| {
        let svg = Chart::new().line("", values).to_svg();
        // Axes have another colour.
        let lines = svg.split('<').filter(|tag| tag.starts_with("polyline"));
        lines.filter(|line| line.contains("#2678CE")).count()
    };
    assert_eq!(lines(&[1.0, 2.0, 3.0, 4.0]), 1);
    assert_eq!(lines(&[1.0, 2.0, f64::NAN, 3.0, 4.0]), 2);
}

#[test]
fn a_long_line_is_thinned_and_keeps_its_peaks_and_its_ends() {
    let mut values: Vec<f64> = (0..100_000).map(|n| f64::from(n % 7)).collect();
    values[50_001] = 100.0;
    values[70_003] = -100.0;
    let chart = Chart::new().line("", &values);
    let points = &chart.series[0].points;
    assert!(points.len() <= POINTS + 2, "{}", points.len());
    for kept in [
        (0.0, 0.0),
        (50_001.0, 100.0),
        (70_003.0, -100.0),
        (99_999.0, values[99_999]),
    ] {
        assert!(points.contains(&kept), "{kept:?}");
    }
    assert!(points.is_sorted_by(|a, b| a.0 < b.0));
    assert!(chart.to_svg().len() < 40_000);
}

#[test]
fn names_are_text() {
    let name = "<script>alert(1)</script>";
    let chart = Chart::new()
        .title(name)
        .axes(name, name)
        .line(name, [1, 2])
        .bars(name, [(name, 1)]);
    let svg = chart.to_svg();
    assert!(
        !svg.contains("<script") && svg.contains("&lt;script"),
        "{svg}"
    );
}

#[test]
fn text_has_the_colour_of_the_page() {
    let svg = Chart::new().title("t").line("a", [1, 2]).to_svg();
    assert!(
        svg.contains(r#"fill="currentColor""#) && !svg.contains("#010203"),
        "{svg}"
    );
    let bundle = Chart::new().mime_bundle();
    for kind in ["text/plain", "text/html", "image/svg+xml"] {
        assert!(bundle.get(kind).is_some(), "{kind}");
    }
    assert_eq!(bundle.plain_text(), Some("no points yet"));
}
