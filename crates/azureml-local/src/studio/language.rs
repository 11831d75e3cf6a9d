//! The languages of the pages: English, or Korean if the browser prefers it. The English text is
//! the key of its translation.

use crate::tickets::NO_TICKET;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use std::convert::Infallible;

/// A language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Language {
    /// English.
    English,
    /// Korean.
    Korean,
}

/// The sections of the pages: their paths below `/studio/` and their English names.
const PLACES: [(&str, &str); 5] = [
    ("jobs", "Jobs"),
    ("computes", "Compute"),
    ("environments", "Environments"),
    ("data", "Data"),
    ("models", "Models"),
];

/// The English name of a section.
pub fn title(place: &str) -> &'static str {
    let found = PLACES.iter().find(|(known, _)| *known == place);
    found.map_or("", |(_, name)| name)
}

impl Language {
    /// The first supported language in `Accept-Language`. Quality values are ignored: browsers list
    /// languages in order of preference.
    pub fn of(headers: &HeaderMap) -> Self {
        let accepted = headers
            .get(header::ACCEPT_LANGUAGE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        accepted
            .split(',')
            .map(|language| language.trim().to_ascii_lowercase())
            .find_map(|language| match language.get(..2)? {
                "ko" => Some(Self::Korean),
                "en" => Some(Self::English),
                _ => None,
            })
            .unwrap_or(Self::English)
    }

    /// The value of the `lang` attribute.
    pub fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Korean => "ko",
        }
    }

    /// The text in this language; a text without translation stays English.
    pub fn t(self, english: &str) -> &str {
        match self {
            Self::English => english,
            Self::Korean => KOREAN
                .iter()
                .find(|(key, _)| *key == english)
                .map_or(english, |(_, korean)| korean),
        }
    }

    /// The sections and their translated names.
    pub fn places(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        PLACES
            .into_iter()
            .map(move |(place, name)| (place, self.t(name)))
    }
}

impl<S: Sync> FromRequestParts<S> for Language {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}

const KOREAN: &[(&str, &str)] = &[
    ("All", "전체"),
    ("All child runs", "하위 실행 전체"),
    ("Backend", "백엔드"),
    ("Busy", "사용률"),
    ("Cancel", "취소"),
    ("Canceled", "취소됨"),
    ("CancelRequested", "취소 요청됨"),
    ("Child runs", "하위 실행"),
    ("Choose jobs in the list.", "목록에서 작업을 선택하세요."),
    ("Code", "코드"),
    ("Command", "명령"),
    ("Compare", "비교"),
    ("Compare the chosen jobs", "선택한 작업 비교"),
    ("Completed", "완료"),
    ("Compute", "컴퓨팅"),
    ("Compute clusters", "컴퓨팅 클러스터"),
    ("Compute instances", "컴퓨팅 인스턴스"),
    ("Data", "데이터"),
    ("Download", "다운로드"),
    ("Duration", "소요 시간"),
    ("Earlier", "이전 부분"),
    ("Environment", "환경"),
    ("Environments", "환경"),
    ("Experiment", "실험"),
    ("Failed", "실패"),
    ("Files", "파일"),
    ("Filter", "필터"),
    ("Finalizing", "마무리 중"),
    ("Find", "찾기"),
    ("Find in the log", "로그에서 찾기"),
    ("Find in this file", "이 파일에서 찾기"),
    ("Folder", "폴더"),
    ("GPUs of this machine", "이 컴퓨터의 GPU"),
    ("Id", "ID"),
    ("Idle", "유휴"),
    ("Inputs", "입력"),
    ("Job", "작업"),
    ("Jobs", "작업"),
    ("Later", "다음 부분"),
    ("Lines that have it", "찾은 줄"),
    ("Local workspace", "로컬 작업 영역"),
    ("Log", "로그"),
    ("Look at it from code", "코드에서 보기"),
    ("Made", "만든 시각"),
    ("Memory", "메모리"),
    ("Metrics", "메트릭"),
    ("Models", "모델"),
    ("Name", "이름"),
    ("No file is here yet.", "아직 파일이 없습니다."),
    ("No file of it is here.", "여기에 있는 파일이 없습니다."),
    (
        "No job is here yet. Submit one from a cell.",
        "아직 작업이 없습니다. 셀에서 작업을 제출하세요.",
    ),
    ("Nodes", "노드"),
    ("not there", "없음"),
    ("Nothing is registered yet.", "아직 등록된 항목이 없습니다."),
    ("Nothing was found.", "찾은 것이 없습니다."),
    ("Nothing was logged yet.", "아직 기록된 값이 없습니다."),
    ("NotStarted", "시작 전"),
    ("Older jobs", "이전 작업"),
    ("Outputs", "출력"),
    ("Outputs + logs", "출력 + 로그"),
    ("Overview", "개요"),
    ("Parameters and tags", "매개 변수와 태그"),
    ("Parent", "상위 실행"),
    ("Preparing", "준비 중"),
    ("Properties", "속성"),
    ("Queue", "대기열"),
    ("Queued", "대기 중"),
    ("Running", "실행 중"),
    ("Size", "크기"),
    ("Skip to the content", "본문으로 건너뛰기"),
    (
        "Some of the log was left out here; the file has all of it.",
        "로그의 일부를 생략했습니다. 전체는 파일에 있습니다.",
    ),
    ("Something went wrong", "문제가 발생했습니다"),
    ("Start", "시작"),
    ("Starting", "시작 중"),
    ("Status", "상태"),
    ("Stop", "중지"),
    ("Stopped", "중지됨"),
    ("Submitted", "제출 시각"),
    ("The request that made it", "작업을 만든 요청"),
    ("there", "있음"),
    (
        "There are more files; only the first 1000 are shown here.",
        "파일이 더 있습니다. 여기에는 처음 1000개만 표시됩니다.",
    ),
    (
        "There are more; look for something longer.",
        "더 있습니다. 더 긴 말로 찾아보세요.",
    ),
    ("There is no such page", "페이지가 없습니다"),
    (
        "These files are not in Triton's layout. It would find them here:",
        "이 파일들은 Triton의 배치가 아닙니다. Triton은 다음 위치에서 찾습니다:",
    ),
    ("This file is no text.", "텍스트 파일이 아닙니다."),
    (
        "This page does not open like this",
        "이 페이지는 이렇게 열 수 없습니다",
    ),
    ("Triton layout", "Triton 배치"),
    (
        "Triton serves no file of this model.",
        "이 모델에는 Triton이 서비스하는 파일이 없습니다.",
    ),
    (
        "Triton serves these from the folder above them:",
        "Triton은 이 폴더들의 상위 폴더에서 다음을 서비스합니다:",
    ),
    ("Value", "값"),
    ("Version", "버전"),
    ("Versions", "버전"),
    ("What it is", "설명"),
    ("With child runs", "하위 실행 포함"),
    ("Workspace", "작업 영역"),
    (
        NO_TICKET,
        "이 페이지는 티켓이 있는 링크로 열립니다\n\
         힌트: 셀에서 `run.portal_url()`을 실행하고 그 링크를 여세요. 링크는 한 번만 열립니다",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn of(accepted: &'static str) -> Language {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::ACCEPT_LANGUAGE,
            axum::http::HeaderValue::from_static(accepted),
        );
        Language::of(&headers)
    }

    #[test]
    fn the_browser_chooses_the_language() {
        assert_eq!(of("ko-KR,ko;q=0.9,en;q=0.8"), Language::Korean);
        assert_eq!(of("en-US,en;q=0.9,ko;q=0.8"), Language::English);
        assert_eq!(of("fr, ko;q=0.5"), Language::Korean);
        assert_eq!(of("*"), Language::English);
        assert_eq!(Language::of(&HeaderMap::new()), Language::English);
    }

    /// Every text in a template has a translation.
    #[test]
    fn nothing_is_left_in_english() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/templates");
        let mut seen = 0;
        for entry in std::fs::read_dir(folder).expect("the templates").flatten() {
            let text = std::fs::read_to_string(entry.path()).expect("a template");
            for key in text.split("l.t(\"").skip(1) {
                let key = key.split('"').next().unwrap_or_default();
                assert_ne!(Language::Korean.t(key), key, "{:?}", entry.path());
                seen += 1;
            }
        }
        assert!(seen > 30, "only {seen} texts");
    }
}
